"""The rows of the sample export, in the words of the CRM that wrote them, and as untidy as it left them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.sample import activity, contracts
from features.sample.blemishes import blanked, corrected, half_filled, repeated, respelled
from features.sample.block import Block
from features.sample.calendar import Calendar, choose
from features.sample.files import Files
from features.sample.leads import activities
from features.sample.people import people
from features.sample.risk import Integers

CHANNELS = {"email": "E-Mail", "web": "Web ", "phone": "PHONE"}
DIRECTIONS = {"inbound": "Inbound", "outbound": "OUTBOUND"}
DRIVES = {"electric": "EV", "diesel": "Diesel", "petrol": "Petrol"}
UNKNOWN_VEHICLE = 99_999_999  # what the workshop enters when nobody looked at the plate
LOST = {"no answer": 0.4, "bought elsewhere": 0.3, "too expensive": 0.2, "no need": 0.1}


def write(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    """Add the rows of one block to every file of the export."""
    lead_rows = activities(rng, block.leads)
    _contacts(rng, calendar, block, files)
    _leads(rng, calendar, block, files)
    _activities(rng, calendar, block, files, lead_rows)
    _shop(rng, calendar, block, files)
    _service(rng, calendar, block, files)
    _garage(rng, calendar, block, files)
    _contracts(rng, calendar, block, files)
    _campaigns(rng, calendar, block, files)
    _histories(rng, calendar, block, files, lead_rows)


def _contacts(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    """Customers as they are today (field_history has what they were); the older ones were entered when the CRM was new."""
    traits = block.traits
    lead = traits["lead"].to_numpy()
    frame = pd.DataFrame(
        {
            "customer_no": block.customer_no,
            "created": calendar.instants(traits["created"].to_numpy()),
            "entered": calendar.instants(np.maximum(traits["created"].to_numpy(), 0.0)),
            **people(rng, block.customer_no, "c"),
            "from_lead": pd.array(np.where(lead >= 0, block.lead_no[lead], 0), dtype="Int64"),
        }
    )
    frame["from_lead"] = frame["from_lead"].mask(lead < 0)
    for name in ("region", "acquisition_channel", "payment_method", "customer_type", "loyalty_status", "birth_year"):
        frame[name] = traits[name].to_numpy()
    frame["region"] = respelled(rng, frame["region"], {"north": "North ", "south": "SOUTH"}, 0.02)
    frame["birth_year"] = frame["birth_year"].astype("Int64")
    frame["status"] = "prospect"
    for spell in block.spells:
        frame.loc[spell.who, "status"] = np.where(np.isfinite(spell.end), "cancelled", "subscriber")
    files.add("contacts.csv", repeated(rng, frame, 0.003))


def _leads(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    leads, size = block.leads, len(block.lead_no)
    lost = leads.instants(np.where(leads.lost / 7 < calendar.end, leads.lost, np.inf))
    imported = leads.created + np.where(rng.random(size) < 0.02, 3 * rng.random(size), 0.0)
    frame = leads.traits.drop(columns="fit").assign(
        budget=leads.traits["budget"].astype("Int64"),
        converted=leads.instants(np.where(leads.won / 7 < calendar.end, leads.won, np.inf)),
        lost=lost,
        lost_reason=pd.Series(choose(rng, LOST, size)).mask(np.isnat(lost)),
        created=leads.instants(leads.created),
        imported=leads.instants(np.minimum(imported, 7 * calendar.end - 1e-4)),
    )
    frame = pd.concat([people(rng, block.lead_no, "l"), frame], axis=1)
    frame.insert(0, "lead_no", block.lead_no)
    frame["source"] = respelled(rng, frame["source"], {"web": "Web", "showroom": "show room", "referral": "Referral "}, 0.03)
    files.add("leads.csv", repeated(rng, frame, 0.004))


def _activities(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files, lead_rows: pd.DataFrame) -> None:
    """Contacts with customers and with leads, in one log; a lead that is a customer already is both."""
    known = [activity.contacts(rng, calendar, block.traits, spell) for spell in block.spells]
    known = [frame.assign(customer_no=block.customer_no[frame["row"]]) for frame in known]
    asking = lead_rows.assign(
        lead_no=block.lead_no[lead_rows["row"]],
        customer_no=block.leads.traits["customer_no"].to_numpy()[lead_rows["row"]],
    )
    frame = _log(files, calendar, "activity", pd.concat([*known, asking], ignore_index=True).drop(columns="row"))
    for name in ("lead_no", "customer_no"):
        frame[name] = frame[name].astype("Int64")
    frame["channel"] = respelled(rng, frame["channel"], CHANNELS, 0.002)
    frame["direction"] = respelled(rng, frame["direction"], DIRECTIONS, 0.002)
    frame = corrected(rng, frame, "campaign", None, 0.001, calendar.last)
    files.add("activities.parquet", repeated(rng, half_filled(rng, frame, "campaign", 0.0005), 0.002))


def _shop(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    orders = _owned(block.customer_no, _log(files, calendar, "order", activity.orders(rng, calendar, block.traits)))
    orders = corrected(rng, orders, "net", lambda net: 10 * net, 0.005, calendar.last)
    orders["goods"] = blanked(rng, orders["goods"], 0.03)
    files.add("orders.csv.gz", repeated(rng, half_filled(rng, orders, "pieces", 0.002), 0.003))
    points = _owned(block.customer_no, _log(files, calendar, "movement", activity.loyalty(rng, calendar, block.traits)))
    files.add("loyalty.csv", repeated(rng, points, 0.002))


def _service(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    cases = [activity.cases(rng, calendar, spell) for spell in block.spells]
    tickets = _owned(block.customer_no, _log(files, calendar, "ticket", pd.concat(cases, ignore_index=True)))
    tickets = corrected(rng, tickets, "topic", "other", 0.02, calendar.last)
    tickets["urgency"] = respelled(rng, tickets["urgency"], {"urgent": "URGENT", "medium": "Medium", "low": "Low"}, 0.02)
    files.add("tickets.csv", repeated(rng, tickets, 0.003))
    surveys = [activity.surveys(rng, calendar, spell) for spell in block.spells]
    files.add("surveys.csv", _owned(block.customer_no, _log(files, calendar, "answer", pd.concat(surveys, ignore_index=True))))


def _garage(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    garage = activity.vehicles(rng, calendar, block.traits)
    number = files.numbers("vehicle", len(garage))
    cars = _owned(block.customer_no, garage.drop(columns=["since", "until"]).assign(vehicle_no=number))
    cars["drive"] = respelled(rng, cars["drive"], DRIVES, 0.05)
    files.add("vehicles.csv", repeated(rng, cars, 0.002))
    visits = activity.workshop(rng, calendar, garage)
    visits = _owned(block.customer_no, _log(files, calendar, "visit", visits.assign(vehicle_no=number[visits["vehicle"]])))
    visits["vehicle_no"] = visits["vehicle_no"].where(rng.random(len(visits)) > 0.001, UNKNOWN_VEHICLE)
    visits = corrected(rng, visits.drop(columns="vehicle"), "odometer", np.nan, 0.01, calendar.last)
    files.add("workshop_visits.csv", visits)


def _contracts(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    """Every version of every contract; what is empty in an ended one is filled when it ends."""
    versions = contracts.subscriptions(rng, calendar, block.spells)
    first = files.numbers("contract", int(versions["contract"].max()) + 1)[0]
    versions["contract"] += first
    files.add("contracts.csv", repeated(rng, _owned(block.customer_no, versions), 0.003))


def _campaigns(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files) -> None:
    known = [activity.memberships(rng, calendar, spell) for spell in block.spells]
    asking = activity.lead_memberships(block.leads)
    members = [frame.assign(customer_no=block.customer_no[frame["row"]]) for frame in known]
    frame = pd.concat([*members, asking.assign(lead_no=block.lead_no[asking["row"]])], ignore_index=True).drop(columns="row")
    frame = frame.assign(member=files.numbers("member", len(frame)))
    frame = frame.astype({"customer_no": "Int64", "lead_no": "Int64"})
    files.add("campaign_members.csv", frame)


def _histories(rng: np.random.Generator, calendar: Calendar, block: Block, files: Files, lead_rows: pd.DataFrame) -> None:
    customers = contracts.customer_history(rng, calendar, block.traits, block.spells)
    leads = contracts.lead_history(block.leads, lead_rows)
    frame = pd.concat(
        [
            customers.assign(object="customer", number=block.customer_no[customers["row"]]),
            leads.assign(object="lead", number=block.lead_no[leads["row"]]),
        ],
        ignore_index=True,
    ).drop(columns="row")
    frame = frame[frame["at"].to_numpy() < calendar.last]
    files.add("field_history.csv", repeated(rng, frame.rename(columns={"at": "since"}), 0.002))


def _log(files: Files, calendar: Calendar, record: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that were entered before now, in the order in which they were, with a number each."""
    frame = frame[frame["logged"].to_numpy() < calendar.last].sort_values("logged", kind="stable", ignore_index=True)
    frame.insert(0, f"{record}_no", files.numbers(record, len(frame)))
    return frame


def _owned(customer_no: Integers, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with the customer's number in place of the row number."""
    owned = frame.drop(columns="row")
    owned.insert(1, "customer_no", customer_no[frame["row"]])
    return owned
