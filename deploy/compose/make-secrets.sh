#!/bin/sh
# Makes keys for deploy/compose, once: for the workers as files, for the store in .env.
set -eu
umask 077
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "deploy/compose/.env is there already: remove it, and deploy/compose/secrets, for other keys" >&2
    exit 2
fi
key() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
mkdir -p secrets
# Containers read them as users of their own.
chmod 755 secrets
umask 022
key > secrets/api-keys
cp secrets/api-keys secrets/scrape-key
printf k2 > secrets/s3-access-key-id
key > secrets/s3-secret-access-key
umask 077
printf 'STORE_KEY_ID=k2\nSTORE_SECRET=%s\n' "$(cat secrets/s3-secret-access-key)" > .env
echo "The workers' API key: $(cat secrets/api-keys)"
