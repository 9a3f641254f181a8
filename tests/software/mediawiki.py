"""Debian's MediaWiki with a database of its own (SQLite), installed by its own command and set up with a guide's blocks."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from tests.software.apache import Apache
from tests.software.printed import Printed
from tests.support.servers import program

PACKAGE: Final = Path("/usr/share/mediawiki")
SERVED: Final = Path("/var/lib/mediawiki")


def mediawiki(apache: Apache, printed: Printed) -> str:
    """Install the wiki; what stands in its VirtualHost."""
    if not PACKAGE.exists():
        raise RuntimeError("mediawiki is missing; `make test` installs what the tests need")
    wiki = apache.folder / "mediawiki"
    wiki.mkdir()
    command = [
        program("php"), str(PACKAGE / "maintenance" / "install.php"), "--dbtype=sqlite", f"--dbpath={wiki}/data",
        f"--confpath={wiki}", "--pass=a-password-of-nobody-0123", f"--server={printed.url.rstrip('/')}", "--scriptpath=",
        "Club MediaWiki", "Keeper",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=wiki)
    assert done.returncode == 0, done.stdout + done.stderr
    local = wiki / "LocalSettings.php"
    local.write_text(f"{local.read_text()}\n{printed.code('LocalSettings.php')}")
    # Debian's copy looks for its settings beside itself.
    (apache.folder / "mediawiki.php").write_text(f"<?php define('MW_CONFIG_FILE', '{local}');")
    served = [
        f"DocumentRoot {SERVED}", "DirectoryIndex index.php", f"<Directory {SERVED}>", "Options +FollowSymLinks", "</Directory>",
        f"php_admin_value auto_prepend_file {apache.folder}/mediawiki.php", *apache.php(),
    ]  # fmt: skip
    return "\n".join([*served, printed.code("VirtualHost")])
