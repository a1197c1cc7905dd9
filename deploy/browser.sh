#!/bin/sh
# browser.sh FOLDER: fetches Chromium from Debian's packages and axe-core from npm into the folder, for
# the tests of the page and for its pictures. Nothing is installed: packages that the machine lacks are
# unpacked there, and Chromium is started from there.
set -eu
AXE=4.14.1
AXE_SHA256=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
folder=$1
rm -rf "$folder.new"
mkdir -p "$folder.new/packages"
cd "$folder.new/packages"

lacking=$(apt-get -qq -s --no-install-recommends install chromium-headless-shell | awk '/^Inst/ { print $2 }')
# shellcheck disable=SC2086 - a list of names
[ -z "$lacking" ] || apt-get -qq -o APT::Sandbox::User=root download $lacking
for package in *.deb; do
    [ ! -e "$package" ] || dpkg -x "$package" ..
done
cd "$OLDPWD"
rm -rf "$folder.new/packages" "$folder"
mv "$folder.new" "$folder"  # whole or absent: a browser without its libraries would fail the tests

mkdir "$folder/axe"
cd "$folder/axe"
npm pack --silent "axe-core@$AXE" >/dev/null
tar xzf "axe-core-$AXE.tgz" --strip-components=1 package/axe.min.js package/LICENSE
rm "axe-core-$AXE.tgz"
echo "$AXE_SHA256  axe.min.js" | sha256sum -c --quiet
