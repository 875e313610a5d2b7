#!/bin/sh
# Lays out the root of the image, without the program: what a dynamically linked program and TLS need, and no more. There is
# no shell, no package manager and no other program in it. Needs neither root nor a container, only apt and dpkg-deb.
#
# Usage: rootfs.sh PACKAGES ROOT [APT-OPTION…]
#   PACKAGES  folder for the downloaded packages; one that is there already is used
#   ROOT      folder to fill; it must not exist
# SOURCE_DATE_EPOCH is the time that all files get.
set -eu

packages=$1
root=$2
shift 2
umask 022
mkdir -p "$packages"
mkdir "$root"
packages=$(cd "$packages" && pwd)
root=$(cd "$root" && pwd)
unpacked=$root.unpacked
rm -rf "$unpacked"
mkdir "$unpacked"

# Downloads a package unless it is there, unpacks it beside the root, and notes it where scanners for vulnerabilities look.
# The other arguments are options of apt-get.
unpack() {
    name=$1
    shift
    if ! ls "$packages/${name}"_*.deb >/dev/null 2>&1; then
        (cd "$packages" && apt-get "$@" -q download "$name")
    fi
    file=$(ls "$packages/${name}"_*.deb)
    dpkg-deb --extract "$file" "$unpacked"
    mkdir -p "$root/var/lib/dpkg/status.d"
    dpkg-deb --field "$file" >"$root/var/lib/dpkg/status.d/$name"
}

# Copies files of the packages by their names, each to its own place, with the links that lead to it.
copy() {
    for name in "$@"; do
        (cd "$unpacked" && find . -name "$name" -print) | while read -r found; do
            mkdir -p "$root/$(dirname "$found")"
            cp -P "$unpacked/$found" "$root/$found"
        done
    done
}

for name in base-files ca-certificates libc6 libgcc-s1; do
    unpack "$name" "$@"
done
# The licence of libgcc_s is in the package that all of GCC's share; its name has a version in it.
unpack "$(dpkg-deb --field "$(ls "$packages"/libgcc-s1_*.deb)" Depends | grep -o 'gcc-[0-9]*-base')" "$@"

copy 'ld-linux*.so.*' libc.so.6 libm.so.6 libgcc_s.so.1 os-release
# Newer Debian packages hold these below /usr alone, and base-files links them.
for folder in lib lib64; do
    if [ -d "$root/usr/$folder" ] && [ ! -e "$root/$folder" ]; then
        ln -s "usr/$folder" "$root/$folder"
    fi
done
for folder in "$unpacked"/usr/share/doc/*; do
    if [ -f "$folder/copyright" ]; then
        mkdir -p "$root/usr/share/doc/$(basename "$folder")"
        cp "$folder/copyright" "$root/usr/share/doc/$(basename "$folder")/"
    fi
done

# What update-ca-certificates would write.
mkdir -p "$root/etc/ssl/certs"
find "$unpacked/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | while read -r certificate; do
    cat "$certificate"
    echo
done >"$root/etc/ssl/certs/ca-certificates.crt"

printf '%s\n' 'root:x:0:0:root:/:/nonexistent' 'heddle:x:65532:65532:heddle:/nonexistent:/nonexistent' >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'heddle:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# Places to mount over. Whoever the program runs as may write into those two, so that any user id will do.
mkdir -p "$root/dev" "$root/etc/heddle" "$root/proc" "$root/run" "$root/sys" "$root/tmp" "$root/var/cache/heddle"
chmod 1777 "$root/tmp" "$root/var/cache/heddle"

rm -rf "$unpacked"
find "$root" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
