"""Debian's DokuWiki as it is unpacked, set up with a guide's blocks; what it writes stays in the server's folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tests.software.apache import Apache
from tests.software.printed import Printed

PACKAGE: Final = Path("/usr/share/dokuwiki")
SETTINGS: Final = Path("/etc/dokuwiki")
FOLDERS: Final = (
    "attic",
    "cache",
    "index",
    "locks",
    "log",
    "media",
    "media_attic",
    "media_meta",
    "meta",
    "pages",
    "tmp",
)
ACL: Final = "* @ALL 1\n* @user 8\n"
"""What the package makes of "everybody may read": those who are signed in may write."""


def dokuwiki(apache: Apache, printed: Printed) -> str:
    """Lay the wiki out; what stands in its VirtualHost."""
    if not PACKAGE.exists():
        raise RuntimeError("dokuwiki is missing; `make test` installs what the tests need")
    wiki = apache.folder / "dokuwiki"
    shutil.copytree(PACKAGE, wiki, ignore=_other_languages)
    _settings(wiki, apache.folder / "dokuwiki-data", printed)
    plugin = "lib/plugins/authdoorward/auth.php"
    (wiki / plugin).parent.mkdir()
    (wiki / plugin).write_text(printed.code(plugin))
    # Debian's copy looks for its settings in /etc.
    places = f"<?php define('DOKU_CONF', '{wiki}/conf/'); define('DOKU_MAIN_CONF', '{wiki}/conf/');"
    (apache.folder / "dokuwiki.php").write_text(places)
    served = [
        f"DocumentRoot {wiki}", "DirectoryIndex doku.php", f"php_admin_value auto_prepend_file {apache.folder}/dokuwiki.php",
        f"<Directory {wiki}>", "AllowOverride All", "Options +FollowSymLinks", "</Directory>", *apache.php(),
    ]  # fmt: skip
    return "\n".join([*served, printed.code("VirtualHost")])


def _other_languages(folder: str, names: list[str]) -> list[str]:
    """Three files of four are translations; this wiki speaks English."""
    return [name for name in names if name != "en"] if Path(folder).name == "lang" else []


def _settings(wiki: Path, data: Path, printed: Printed) -> None:
    conf = wiki / "conf"
    conf.mkdir()
    for source in SETTINGS.iterdir():
        if not source.is_symlink() and source.is_file():  # the links lead to what is this machine's own
            shutil.copy(source, conf)
    for name in FOLDERS:
        (data / name).mkdir(parents=True)
    (conf / "acl.auth.php").write_text(f"# <?php exit()?>\n{ACL}")
    (conf / "users.auth.php").write_text("# <?php exit()?>\n")
    local = conf / "local.php"
    local.write_text(f"{local.read_text()}\n$conf['savedir'] = '{data}';\n{printed.code('conf/local.php')}")
