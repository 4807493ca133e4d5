"""What CRMs really send, and the attributes of a lead that it is read into."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from features.condition import Condition
from features.feature import Feature, View
from features.hook import Hook
from features.lead import PROFILE
from serving.hooks.unpack import Unpacked, unpack
from serving.newcomer import attributes

NOW = datetime(2026, 11, 22, 6, 10, tzinfo=UTC)
URL = "https://scores.example.com/v1/hooks/crm/key"
VIEWS = (
    replace(
        PROFILE,
        features=(
            *PROFILE.features,
            Feature("lead_origin", "attribute", "origin", dtype="category"),
            Feature("lead_budget", "attribute", "budget"),
            Feature("lead_opt_in", "attribute", "opt_in"),
            Feature("lead_wanted_days", "age", "wanted", unit="days"),
        ),
    ),
    View(
        "lead_attributes", "lead", "attribute_history",
        (Feature("lead_status", "latest", "value", (Condition.parse("field = 'status'"),), dtype="category"),),
    ),
)  # fmt: skip
ATTRIBUTES = attributes(VIEWS, "lead")

ODOO = {
    "_action": "Score the lead(#431)", "_id": 7, "_model": "crm.lead", "id": 7, "name": "Fleet of vans", "phone": False,
    "expected_revenue": 12500.0, "source_id": 3, "medium_id": [5, "Web"], "stage_id": False, "date_deadline": False,
    "x_opt_in": False, "create_date": "2026-11-22 06:07:30.752655",
}  # fmt: skip
ESPOCRM = [
    {"id": "6560f3a1c2d4e5f60", "status": "In Process", "modifiedAt": "2026-11-22 06:07:30"},
    {"id": "6560f3a1c2d4e5f61", "opportunityAmount": 4000, "source": ""},
]
_EVENT = {
    "eventId": 100, "subscriptionId": 1234, "portalId": 62515, "appId": 98765, "occurredAt": 1795327650000,
    "subscriptionType": "contact.propertyChange", "attemptNumber": 0, "objectId": 1246965, "changeSource": "CRM",
}  # fmt: skip
HUBSPOT = [
    {**_EVENT, "propertyName": "origin", "propertyValue": "Referral", "occurredAt": 1795327651000},
    {**_EVENT, "propertyName": "origin", "propertyValue": "Web"},
    {**_EVENT, "propertyName": "budget", "propertyValue": "2500.50"},
    {**_EVENT, "propertyName": "wanted", "propertyValue": "1795327650752"},
    {**_EVENT, "objectId": 1246978, "subscriptionType": "contact.creation", "changeFlag": "NEW"},
    {**_EVENT, "objectId": 1246979, "subscriptionType": "contact.deletion"},
    {
        **_EVENT,
        "objectId": 1246965,
        "subscriptionType": "company.propertyChange",
        "propertyName": "origin",
        "propertyValue": "No",
    },
]
SALESFORCE = b"""<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>
<notifications xmlns="http://soap.sforce.com/2005/09/outbound">
 <OrganizationId>00D24000000abcdEAA</OrganizationId><ActionId>04k24000000XyzAAA</ActionId><SessionId xsi:nil="true"/>
 <EnterpriseUrl>https://example.my.salesforce.com/services/Soap/c/60.0</EnterpriseUrl><PartnerUrl>x</PartnerUrl>
 <Notification><Id>04l0800002nrC5BAAU</Id>
  <sObject xsi:type="sf:Lead" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
   <sf:Id>00Q24000004AbCdEAK</sf:Id><sf:LeadSource>Web &amp; more</sf:LeadSource><sf:AnnualRevenue>12500.0</sf:AnnualRevenue>
   <sf:HasOptedIn__c>false</sf:HasOptedIn__c><sf:CreatedDate>2026-11-22T06:07:30.000Z</sf:CreatedDate>
   <sf:Status xsi:nil="true"/><sf:Address><sf:city>Bern</sf:city></sf:Address></sObject></Notification>
 <Notification><Id>04l0800002nrC5CAAU</Id>
  <sObject xsi:type="sf:Lead" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
   <sf:Id>00Q24000004AbCeEAK</sf:Id><sf:LeadSource></sf:LeadSource></sObject></Notification>
</notifications></soapenv:Body></soapenv:Envelope>"""


def hook(shape: str = "json", **settings: Any) -> Hook:
    return Hook.model_validate({"shape": shape, "entity": "lead", **settings})


def unpacked(read_by: Hook, body: Any, headers: dict[str, str] | None = None, now: datetime = NOW) -> Unpacked:
    """What a call with this body says; anything but bytes is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return unpack(read_by, "crm", "POST", URL, headers or {}, sent, ATTRIBUTES, now)
