"""What names a person is recognised however a CRM spells it, and what is about the account is left alone."""

from __future__ import annotations

import pytest

from features.personal import is_personal

PERSONAL = """
    name Name last_name LastName LAST_NAME last_name_2 customerName contact_person Contact_Person__c Surname nickname
    email E-Mail e_mail PersonEmail Person_Email__pc EMailAddress1 emailaddress
    phone MobilePhone mobile_phone telephone Telephone2 phone_number HomePhone work_phone mobile fax
    street MailingStreet billing_address_line_1 address2 house_number postcode PostalCode BillingPostalCode zip ZIPCode
    iban IBAN SSN
"""
OF_THE_ACCOUNT = """
    phone_service email_opt_in address_changes mobile_app_user product_name plan_name campaign_name region city country
    multiple_lines smartphone hotel zipper streetwear payment_method named_driver tel_contract newsletter_consent MonthlyCharges
"""


@pytest.mark.parametrize("name", PERSONAL.split())
def test_what_names_a_person_is_recognised(name: str) -> None:
    assert is_personal(name)


@pytest.mark.parametrize("name", OF_THE_ACCOUNT.split())
def test_what_is_about_the_account_is_not(name: str) -> None:
    assert not is_personal(name)
