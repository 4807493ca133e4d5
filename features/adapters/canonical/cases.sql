select * from cases
