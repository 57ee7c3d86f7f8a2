"""cmake/arrows, on small trees of its own."""
import subprocess

import pytest

import harness


def arrows(root):
    return subprocess.run([harness.ROOT / "cmake/arrows", root], text=True, capture_output=True)


def write(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("path, include", [
    ("wire/a.cpp", '#include "net/loop.hpp"'),
    ("base/a.hpp", '#include "config/settings.hpp"'),
    ("net/a.hpp", '#  include "config/settings.hpp"'),
    ("router/a.cpp", '#include "router/client/cluster.hpp"'),
    ("router/client/a.cpp", '#include "pool/pool.hpp"'),
    ("proxy/a.cpp", '#include "router/client/cluster.hpp"'),
    ("migrate/a.cpp", '#include "wire/frame.hpp"'),
    ("proxy/admin/a.cpp", '#include "migrate/init.hpp"'),
    ("router/analysis.cpp", "#include <nodes/parsenodes.h>"),
    ("wire/a.cpp", '#include "frame.hpp"'),
])
def test_an_include_against_an_arrow_is_named_with_file_and_line(tmp_path, path, include):
    write(tmp_path, path, "// a comment\n" + include + "\n")
    done = arrows(tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{path}:2: ")


def test_includes_along_the_arrows_are_silent(tmp_path):
    write(tmp_path, "proxy/a.cpp", '#include "pool/pool.hpp"\n#include "proxy/b.hpp"\n#include <vector>\n#include <libpq-fe.h>\n')
    write(tmp_path, "router/client/a.cpp", '#include "router/router.hpp"\n#include "policy/health.hpp"\n')
    write(tmp_path, "router/pg_tree.hpp", "#include <nodes/parsenodes.h>\n")
    done = arrows(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
