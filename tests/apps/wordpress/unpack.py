#!/usr/bin/env python3
"""WordPress with its SQLite drop-in out of the package that holds both: unpack.py PACKAGE SITE"""
import shutil
import sys
import zipfile
from pathlib import Path

package, site = map(Path, sys.argv[1:])
zipfile.ZipFile(package / "src/wordpress/wp-6.5.zip").extractall(site)
# Styles, scripts and pictures stand beside the archive of the scripts.
shutil.copytree(package / "public/wp-6.5", site, dirs_exist_ok=True)

plugins = site / "wp-content/plugins"
name = "sqlite-database-integration"
shutil.rmtree(plugins / name, ignore_errors=True)
zipfile.ZipFile(package / f"src/{name}/{name}.zip").extractall(plugins)
(plugins / f"{name}-main").rename(plugins / name)
drop_in = (plugins / name / "db.copy").read_text()
# Wherever the site is copied to.
drop_in = drop_in.replace("'{SQLITE_IMPLEMENTATION_FOLDER_PATH}'", f"__DIR__ . '/plugins/{name}'")
drop_in = drop_in.replace("{SQLITE_PLUGIN}", f"{name}/load.php")
if "{SQLITE" in drop_in:
    sys.exit("the drop-in has other places to fill in than it had")
(site / "wp-content/db.php").write_text(drop_in)

# Its timer asks its own site over the network, which the tests have none of.
config = site / "wp-config.php"
config.write_text(config.read_text().replace("<?php", "<?php define( 'DISABLE_WP_CRON', true );", 1))

# The archive brings a database that is installed already.
for database in (site / "wp-content/database").glob(".ht.sqlite*"):
    database.unlink()
