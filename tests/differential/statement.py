"""A statement with its values set apart, so that it can be sent with literals or with parameters; and how to compare answers to it."""
import re
from dataclasses import dataclass, field, replace

from world import literal

MARK = re.compile("\x01(\\d+)\x02")
TOKEN = re.compile("\x01\\d+\x02|'(?:[^']|'')*'|\\w+|::|<=|>=|<>|\\|\\||\\s+|.", re.S)
ANY_ORDER, AS_IT_CAME = "any", "as it came"


@dataclass
class Statement:
    template: str                 # a value is \x01<its number>\x02
    values: list                  # (type, value, is its type declared where it is a parameter?)
    constructs: set = field(default_factory=set)
    order: object = ANY_ORDER     # or AS_IT_CAME, or a number: rows come in the order of that many first columns
    writes: bool = False
    copy_data: str = None         # what is sent to COPY FROM STDIN
    several: bool = False         # statements in one string

    def with_literals(self):
        return MARK.sub(lambda m: literal(*self.values[int(m[1])][:2]), self.template)

    def with_parameters(self):
        used = []

        def place(match):
            used.append(self.values[int(match[1])])
            return f"${len(used)}"

        return MARK.sub(place, self.template), used

    def redrawn(self, world, random):
        """The same text with other values: a plan or a prepared statement is used again."""
        other = [(kind, random.choice(world.alike(kind, value)), declared) for kind, value, declared in self.values]
        return replace(self, values=other)

    def tokens(self):
        return TOKEN.findall(self.template)

    def of_tokens(self, tokens):
        return replace(self, template="".join(tokens))


def refused(results):
    """Weir's own refusal; PostgreSQL has errors of this SQLSTATE, too, and those the caller compares first."""
    return any(r[0] == "error" and r[1] == "0A000" for r in results)


def _data_error(result):
    return result[0] == "error" and result[1][:2] in ("21", "22", "23")


def _same_result(here, there, order):
    if here[0] != there[0]:
        return False
    if here[0] == "error":
        # Of several rows that are wrong, which is met first is nobody's promise.
        if here == there or (_data_error(here) and _data_error(there)):
            return True
        # In a failed transaction PostgreSQL reads the text first; Weir may say at once that the transaction has failed.
        return here[1] == "25P02" and there[1] == "42601"
    if here[0] == "copy":
        return here[1] == there[1] if order == AS_IT_CAME else sorted(here[1]) == sorted(there[1])
    if here[0] == "done":
        return here == there
    if here[1] != there[1] or here[3] != there[3]:
        return False
    if order == AS_IT_CAME:
        return here[2] == there[2]
    null_last = lambda row: tuple((v is None, v or b"") for v in row)
    if isinstance(order, int) and [r[:order] for r in here[2]] != [r[:order] for r in there[2]]:
        return False
    return sorted(here[2], key=null_last) == sorted(there[2], key=null_last)


def same(here, there, order):
    return len(here) == len(there) and all(_same_result(a, b, order) for a, b in zip(here, there))
