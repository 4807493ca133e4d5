select * from loyalty_events
