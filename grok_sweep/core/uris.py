"""Which folders are URIs, which of those cannot be meant, and what of them people may see."""

import re
from urllib.parse import urlsplit, urlunsplit

# A URI, or what was to be one (s3:/bucket/x); its place, without options.
_URI = re.compile(r"([A-Za-z][\w+.-]*:/+)([^?#]*)")
_USER = re.compile(r"\A([^/@:]*)(?:@|:(?:[^/]*@|.*@))")  # a name; a password, which may have a /


def is_uri(root: str) -> bool:
    """Whether a folder is given as a URI, be it one that cannot be used."""
    return _URI.match(root) is not None


def below(root: str, name: str) -> str:
    """A folder in another, given as a path or a URI, whose options stay."""
    if not is_uri(root):
        return f"{root}/{name}"
    parts = urlsplit(root)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def shown(root: str) -> str:
    """A folder's path or URI as people may see it: a URI without options and password, of S3 without key."""
    if not (uri := _URI.match(root)):
        return root
    name = "" if uri[1].lower().startswith("s3:") else r"\1@"
    return uri[1] + _USER.sub(name, uri[2]).rstrip("/")


def has_secret(root: str) -> bool:
    """Whether a URI holds a password, or of S3 a key: those are for the environment."""
    if not (uri := _URI.match(root)):
        return False
    # A secret may have a /; then of S3 it ends what seems to be the bucket.
    secret = "[@:]" if uri[1].lower().startswith("s3:") else ":.*@"
    return re.search(secret, uri[2].partition("/")[0]) is not None


def trouble(root: str) -> str | None:
    """Why a URI cannot be used, above all where it would silently mean another place than it seems to."""
    scheme = root.partition(":")[0]
    if "://" not in root:
        return f"a URI begins with {scheme}://"
    if scheme == "file" and not re.fullmatch(r"file://(localhost)?/[^?#]*", root):
        return "a folder of this machine is file:///PATH, where ? is %3F and # is %23"
    try:
        parts = urlsplit(root)
    except ValueError:
        return "it is no URI"
    if parts.scheme == "s3" and ":" in parts.netloc and "@" not in parts.netloc:
        return "a bucket has no port; and in a URI / of a secret is %2F"
    return None
