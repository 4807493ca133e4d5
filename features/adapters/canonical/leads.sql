select * from leads
