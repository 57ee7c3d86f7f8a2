"""The fewest statements and words that still show a difference."""
from wire import Lost

TRIES = 600


def reduced(runner, wrong):
    left, kind = [TRIES], runner.last_difference[0]

    def fails(script):
        left[0] -= 1
        if left[0] < 0:
            return False
        try:
            return runner.fails(script, wrong.protocol) and runner.last_difference[0] == kind
        except Lost:
            return kind == "lost"

    script = wrong.script
    if not fails(script):
        print("  (it does not show from the first rows alone)")
        return script
    script = fewer(script, fails)
    for i, statement in enumerate(script):
        valid = lambda tokens: fails([*script[:i], statement.of_tokens(tokens), *script[i + 1:]])
        script = [*script[:i], statement.of_tokens(fewer(statement.tokens(), valid)), *script[i + 1:]]
    fails(script)   # for the difference that is shown
    return script


def fewer(parts, fails):
    """Leaves out runs of parts, long ones first, as long as the rest fails."""
    size = len(parts) // 2
    while size >= 1:
        at = 0
        while at < len(parts):
            rest = parts[:at] + parts[at + size:]
            if rest and fails(rest):
                parts = rest
            else:
                at += max(1, size // 2)
        size //= 2
    return parts
