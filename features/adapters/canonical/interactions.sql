select * from interactions
