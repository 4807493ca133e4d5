-- One row per account, customer or prospect: who has bought is told by orders.
select account.accountid as customer_id, account.createdon as created_at, account.* exclude (accountid, createdon) from account
