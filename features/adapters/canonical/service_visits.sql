select * from service_visits
