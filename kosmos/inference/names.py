"""A trie of names: what may follow when an answer must be one of a given list (paper section 4.6, Table 10)."""

from __future__ import annotations

from collections.abc import Sequence

from kosmos.errors import UsageError


class NameTrie:
    """Token ids of names as a tree. Every name ends in `</s>`, so one may be the beginning of another.

    Node 0 is the root. Names of equal tokens are one; `name` gives the first of them.
    """

    def __init__(self, names: Sequence[str], token_ids: Sequence[Sequence[int]]) -> None:
        if not names:
            raise UsageError("the list of names is empty: give at least one")
        self._children: list[dict[int, int]] = [{}]
        self._names: dict[int, str] = {}
        self.max_length = 0
        for name, ids in zip(names, token_ids, strict=True):
            if len(ids) < 2:  # `</s>` alone
                raise UsageError("an empty name cannot be told from no answer: remove it from the list")
            node = 0
            for token in ids:
                if token not in self._children[node]:
                    self._children[node][token] = len(self._children)
                    self._children.append({})
                node = self._children[node][token]
            self._names.setdefault(node, name.strip())
            self.max_length = max(self.max_length, len(ids))

    def __len__(self) -> int:
        """Nodes, the root included."""
        return len(self._children)

    def tokens(self, node: int) -> list[int]:
        """Token ids that may follow."""
        return list(self._children[node])

    def child(self, node: int, token: int) -> int:
        """The node behind `token`; KeyError when it may not follow."""
        return self._children[node][token]

    def name(self, node: int) -> str:
        """The name that ends at this node, without white space around it."""
        return self._names[node]
