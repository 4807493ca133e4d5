select * from vehicles
