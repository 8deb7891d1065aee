"""What an application allows its tenants to ask for."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from mjbulk.errors import UsageError
from mjbulk.fastapi.problems import Problem
from mjbulk.terms import Action, ActionLike, ListActions, ListRef, action_of, list_actions, list_ref


@frozen
class Allowed:
    """Lists and actions that tenants may name. ``lists`` is None for any list of the account."""

    lists: Mapping[ListRef, Action] | None
    actions: Sequence[Action]

    @classmethod
    def of(cls, lists: ListActions | None, actions: Sequence[ActionLike]) -> "Allowed":
        """Check what an application says. Raises UsageError."""
        if isinstance(actions, str) or not actions:
            raise UsageError("actions= are the actions that tenants may ask for, as in ('addnoforce',)")
        pairs = list_actions(lists)
        return cls(None if pairs is None else dict(pairs), tuple(action_of(word) for word in actions))

    def choose(self, wanted: str | None, action: str | None) -> tuple[ListRef, Action]:
        """Give the list and the action of a request. Raises Problem if they are not allowed."""
        ref = self._list(wanted)
        usual = self.lists[ref] if self.lists is not None else self.actions[0]
        chosen = usual if action is None else self._action(action)
        if chosen is not usual and chosen not in self.actions:
            raise Problem(403, "action.forbidden", f"{chosen} is not allowed here; nothing was sent")
        return ref, chosen

    def _list(self, wanted: str | None) -> ListRef:
        if wanted is None:
            if self.lists is not None and len(self.lists) == 1:
                return next(iter(self.lists))
            raise Problem(422, "list.missing", "say which list: ?list=ID, an address or a name; nothing was sent")
        try:
            ref = list_ref(wanted)
        except UsageError as why:
            raise Problem(422, "list", str(why)) from None
        if self.lists is not None and ref not in self.lists:
            raise Problem(403, "list.forbidden", "this list is not allowed here; nothing was sent")
        return ref

    def _action(self, word: str) -> Action:
        try:
            return action_of(word)  # type: ignore[arg-type]  # this is where the word is checked
        except UsageError as why:
            raise Problem(422, "action", str(why)) from None
