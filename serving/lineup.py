"""The lineup: which version answers for each propensity now. It follows the registry while the service runs.

Every two seconds MLflow is asked which version is champion. A new one is loaded beside the old one and takes its place in one
assignment: whoever began with the old one ends with it. When MLflow cannot be reached everybody stays, champions and challengers;
a service that starts then takes those that served last from their local copies.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

from features.errors import ForesellError, RegistryError
from features.feature import View
from features.propensity import load, propensity_files
from features.settings import Workspace
from serving import copies
from serving.desk import Desk
from serving.scorer import Scorer, scorer_of
from training import registry
from training.registry import Named, Standing

PAUSE = 2.0  # seconds between two looks at the registry
LOOKS_UNTIL_ASKED_AGAIN = 15  # why nobody answers
Desks = Mapping[str, Desk | ForesellError]
_log = logging.getLogger("foresell")


class Lineup:
    """The desks of a workspace, by propensity; where none can be opened, the error that says why."""

    def __init__(
        self,
        workspace: Workspace,
        views: tuple[View, ...],
        require: Callable[[str], None],
        on_change: Callable[[Desks], None] = lambda desks: None,
    ) -> None:
        """Begin empty; `refresh` opens the desks.

        Args:
            workspace: whose champions answer.
            views: what the workspace declares.
            require: raises a StoreError for a kind of entity whose records nobody can read.
            on_change: called with the desks whenever they have changed.
        """
        self._workspace, self._views, self._require, self._on_change = workspace, views, require, on_change
        self._names = tuple(sorted(propensity_files(workspace.root, workspace.settings)))
        self._scorers: dict[tuple[str, Named], Scorer] = {}
        self._complaints: dict[str, str] = {}
        self._seen: dict[str, Standing] = {}  # at the last look, of those with whom nothing was amiss
        self._amiss: set[str] = set()
        self._looks = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="lineup", daemon=True)
        self.failure: RegistryError | None = None
        self.desks: Desks = MappingProxyType({})

    def refresh(self) -> None:
        """Open a desk for every version that should answer and does not yet, and close those that should no longer."""
        standing = self._standing()
        self._amiss, self._looks = set(), self._looks + 1
        desks = MappingProxyType(
            {name: self._desk(name, standing[name] if standing is not None else None) for name in self._names}
        )
        if _seats(desks) != _seats(self.desks):
            self._tell(desks)
            self.desks = desks
            self._on_change(desks)
            self._forget()
        if standing is not None:
            self._seen = {name: found for name, found in standing.items() if name not in self._amiss}

    def start(self, on_look: Callable[[], None] = lambda: None) -> None:
        """Follow the registry in a thread of its own, which calls `on_look` after each look."""
        self._on_look = on_look
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Follow it no longer, and wait for the look under way, for at most so many seconds and no longer than a pause."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(min(timeout, PAUSE))

    def _follow(self) -> None:
        while not self._stopped.wait(PAUSE):
            try:
                self.refresh()
                self._on_look()
            except Exception:  # whatever happens, those who answer now go on answering
                _log.exception("the lineup stays as it is")

    def _standing(self) -> Mapping[str, Standing] | None:
        """Who should answer by the registry; None while it cannot be reached."""
        try:
            found = registry.standing(self._workspace, self._names)
        except RegistryError as problem:
            if self.failure is None:
                _log.warning("the registry cannot be reached, the present versions go on: %s", problem.received)
            self.failure = problem
            return None
        self.failure = None
        return found

    def _desk(self, name: str, standing: Standing | None) -> Desk | ForesellError:
        present = self.desks.get(name)
        if present is not None and self._is_settled(name, present, standing):
            return present
        try:
            champion = self._champion(name, standing)
            if champion is None:
                return self.failure or self._no_champion(name)
            return self._open(name, champion, (standing or copies.last(self._workspace, name)).challenger)
        except ForesellError as problem:
            self._amiss.add(name)
            if isinstance(present, Desk):
                self._complain(name, f"{name} stays with version {present.scorer.version}: {problem.received}")
                return present
            return problem

    def _is_settled(self, name: str, present: Desk | ForesellError, standing: Standing | None) -> bool:
        """Whether a look at the registry changes nothing: what was in the way at the last one is tried again.

        Why a desk is vacant is found out again every half minute, for it may be a file that was mended.
        """
        if standing is None:
            return isinstance(present, Desk)
        is_due = not isinstance(present, Desk) and self._looks % LOOKS_UNTIL_ASKED_AGAIN == 0
        return standing == self._seen.get(name) and not is_due

    def _champion(self, name: str, standing: Standing | None) -> Named | None:
        """The pinned version, else the champion, else the one that served last here."""
        pinned = self._workspace.settings.serving.pin.get(name)
        last = copies.last_champion(self._workspace, name)
        if pinned is not None:
            return last if standing is None and last and last.version == pinned else registry.named(self._workspace, name, pinned)
        return last if standing is None else standing.champion

    def _open(self, name: str, champion: Named, challenger: Named | None) -> Desk:
        serving = self._workspace.settings.serving
        wanted = challenger if name in serving.shadow or serving.canary.get(name) else None
        scorer, other = self._scorer(name, champion), self._challenger(name, wanted)
        is_remembered = copies.remember(self._workspace, name, Standing(champion, wanted))
        if is_remembered and (other is not None) == (wanted is not None):
            self._complaints.pop(name, None)
        else:
            self._amiss.add(name)
        return Desk(scorer, other, serving.canary.get(name, 0.0), name in serving.shadow)

    def _challenger(self, name: str, wanted: Named | None) -> Scorer | None:
        """The challenger; one that cannot be opened keeps no champion from answering."""
        if wanted is None:
            return None
        try:
            return self._scorer(name, wanted)
        except ForesellError as problem:
            self._complain(name, f"{name} goes on without its challenger, version {wanted.version}: {problem.received}")
            return None

    def _complain(self, name: str, text: str) -> None:
        """One line for each new trouble, not one for each look."""
        if self._complaints.get(name) != text:
            self._complaints[name] = text
            _log.warning(text)

    def _scorer(self, name: str, named: Named) -> Scorer:
        """The scorer of a version, loaded at most once."""
        if (name, named) not in self._scorers:
            found = copies.copied(self._workspace, name, named) or registry.load(self._workspace, name, named.version)
            copies.keep(self._workspace, name, named, found.model)
            self._require(found.model.propensity.entity)
            scorer = scorer_of(self._workspace, self._views, found)
            scorer.warm()
            self._scorers[name, named] = scorer
        return self._scorers[name, named]

    def _no_champion(self, name: str) -> ForesellError:
        try:
            load(self._workspace, name)
            registry.champion(self._workspace, name)
        except ForesellError as problem:
            return problem
        return RegistryError(
            f"propensity {name!r}",
            expected="a champion",
            received="one that was promoted this moment",
            repair="ask again in a few seconds",
        )

    def _forget(self) -> None:
        """Let go of the versions that nobody needs, and keep the new ones out of every later collection."""
        kept = {id(scorer) for desk in self.desks.values() if isinstance(desk, Desk) for scorer in (desk.scorer, desk.challenger)}
        self._scorers = {key: scorer for key, scorer in self._scorers.items() if id(scorer) in kept}
        gc.collect()
        gc.freeze()

    def _tell(self, desks: Desks) -> None:
        for name, version in _versions(desks).items():
            if version != _versions(self.desks).get(name):
                _log.info("%s: %s", name, f"version {version[0]} answers" if version else "nobody answers")


def _seats(desks: Desks) -> dict[str, tuple[int | str, ...]]:
    """Who sits at the desks, to the instance; where nobody does, why."""
    return {
        name: (id(desk.scorer), id(desk.challenger)) if isinstance(desk, Desk) else (str(desk),) for name, desk in desks.items()
    }


def _versions(desks: Desks) -> dict[str, tuple[str | None, ...]]:
    """Which versions are at the desks; empty where nobody is."""
    return {
        name: (desk.scorer.version, desk.challenger.version if desk.challenger else None) if isinstance(desk, Desk) else ()
        for name, desk in desks.items()
    }
