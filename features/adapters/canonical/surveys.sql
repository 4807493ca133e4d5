select * from surveys
