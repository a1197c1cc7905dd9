"""The properties that pyiceberg reads of a catalog and its file system, by their own names.

pyiceberg ignores a property that it does not know: a misspelt one would silently leave a
security option off, or name a wrong region. The names are those of pyiceberg 0.12.0; a test
compares them with its source.
"""

import re

#: Of the REST catalog, the SQL catalog and whatever signs requests to Amazon.
CATALOG = (
    "audience", "auth", "client.access-key-id", "client.profile-name", "client.region",
    "client.role-arn", "client.role-session-name", "client.secret-access-key",
    "client.session-token", "credential", "echo", "init_catalog_tables", "namespace-separator",
    "oauth2-server-uri", "pool_pre_ping", "prefix", "resource", "rest-page-size",
    "rest.signing-name", "rest.signing-region", "rest.sigv4-enabled", "rest.sigv4.max-retries",
    "scan-planning-mode", "scope", "snapshot-loading-mode", "ssl", "token",
    "view-endpoints-supported",
)  # fmt: skip
#: Of file systems.
STORES = (
    "adls.account-host", "adls.account-key", "adls.account-name", "adls.anon",
    "adls.blob-storage-authority", "adls.blob-storage-scheme", "adls.client-id",
    "adls.client-secret", "adls.connection-string", "adls.credential",
    "adls.dfs-storage-authority", "adls.dfs-storage-scheme", "adls.sas-token", "adls.tenant-id",
    "adls.token", "gcs.access", "gcs.cache-timeout", "gcs.consistency",
    "gcs.default-bucket-location", "gcs.oauth2.token", "gcs.oauth2.token-expires-at",
    "gcs.project-id", "gcs.requester-pays", "gcs.service.host", "gcs.session-kwargs",
    "gcs.version-aware", "hdfs.host", "hdfs.kerberos_ticket", "hdfs.port", "hdfs.user",
    "hf.endpoint", "hf.token", "py-io-impl", "s3.access-key-id", "s3.anonymous",
    "s3.connect-timeout", "s3.endpoint", "s3.force-virtual-addressing", "s3.profile-name",
    "s3.proxy-uri", "s3.region", "s3.request-timeout", "s3.resolve-region",
    "s3.retry-strategy-impl", "s3.role-arn", "s3.role-session-name", "s3.secret-access-key",
    "s3.server-side-encryption", "s3.session-token", "s3.signer", "s3.signer.endpoint",
    "s3.signer.uri", "s3.sse-kms-key-id",
)  # fmt: skip
#: Whose values are objects, not texts.
OBJECTS = frozenset({"auth", "ssl"})
#: Any header of the requests to a REST catalog.
HEADER = "header."
_SEPARATORS = re.compile(r"[._-]+")


def flat(name: str) -> str:
    """A name as an environment variable can hold it: capitals, one `_` for what separates words."""
    return _SEPARATORS.sub("_", name).upper()


BY_FLAT_NAME = {flat(name): name for name in CATALOG + STORES}


def property_named(flat_name: str) -> str | None:
    """The property that an environment variable's name stands for; None: there is none.

    A header's name is read with `-` for `_`: `HEADER_X_TENANT` is `header.x-tenant`.
    """
    known = BY_FLAT_NAME.get(flat(flat_name))
    if known is None and flat_name.startswith(flat(HEADER)) and flat_name != flat(HEADER):
        return HEADER + flat_name.removeprefix(flat(HEADER)).lower().replace("_", "-")
    return known


def is_known(name: str) -> bool:
    """Whether pyiceberg reads a property of this name."""
    return name in CATALOG or name in STORES or (name.startswith(HEADER) and name != HEADER)
