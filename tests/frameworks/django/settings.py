"""A Django project in front of Weir. DATABASE_URL names where; see tests/frameworks/README.md for what differs from a plain one."""
import os
import urllib.parse

_url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path[1:],
        "USER": _url.username,
        "HOST": _url.hostname,
        "PORT": _url.port,
        "DISABLE_SERVER_SIDE_CURSORS": True,   # what Django's manual asks for behind any transaction pooler
        "TEST": {"NAME": "test_app"},
    }
}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "store"]
SECRET_KEY = "of a test"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
