# The kernel and the initramfs of the test machine: from a Debian package that is never installed.
# To be sourced by tests/vm/run, after tools/setup/steps.sh.
# shellcheck shell=bash

# Not the cloud kernel, which is smaller but has no 9p.
KERNEL_META=linux-image-amd64

# In the order in which they load.
MODULES=(
  virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
  netfs fscache 9pnet 9p 9pnet_virtio overlay
  virtio_blk crc16 crc32c_generic libcrc32c mbcache jbd2 ext4
)

# have_kernel CACHE : sets KERNEL to a folder below CACHE that holds vmlinuz, modules/ and the name of
# the package; fetches it the first time. Later runs need no network.
have_kernel() {
  local cache=$1 found
  for found in "$cache"/linux-image-*/; do
    if [[ -f $found/vmlinuz ]]; then
      KERNEL=${found%/}
      return
    fi
  done
  local package
  package=$(apt-cache depends "$KERNEL_META" 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
  if [[ -z $package ]]; then
    say_error "apt knows no package $KERNEL_META, whose kernel the test machine boots" \
      "its lists may be missing or those of another distribution than Debian 12; as root:" \
      "  apt-get update"
    return 1
  fi
  echo "fetching $package (about 70 MB, once; unpacked, not installed)"
  rm -rf "$cache/fetching"
  mkdir -p "$cache/fetching"
  # As the user it is, not as apt's: that one may be unable to enter the folder.
  if ! (cd "$cache/fetching" && apt-get -q -o APT::Sandbox::User=root download "$package") \
    >"$cache/fetch.log" 2>&1; then
    tail -n 5 "$cache/fetch.log" >&2
    say_error "apt-get could not download $package: no network, or lists that are too old;" \
      "as root: apt-get update"
    return 1
  fi
  unpack_kernel "$cache/fetching" || return
  mv "$cache/fetching" "$cache/$package"
  KERNEL=$cache/$package
}

# unpack_kernel DIR : turns the package in DIR into vmlinuz and modules/.
unpack_kernel() {
  local module found wanted=('./boot/vmlinuz-*')
  for module in "${MODULES[@]}"; do wanted+=("*/$module.ko"); done
  mkdir "$1/root" "$1/modules"
  # What is not in there is told below, by name.
  dpkg --fsys-tarfile "$1"/*.deb |
    tar -x -C "$1/root" --wildcards "${wanted[@]}" 2>/dev/null || true
  for module in "${MODULES[@]}"; do
    found=$(find "$1/root" -name "$module.ko" -print -quit)
    if [[ -z $found ]]; then
      say_error "$(basename "$1"/*.deb) has no module $module: tests/vm/kernel.sh lists them for" \
        "the kernel of Debian 12"
      return 1
    fi
    mv "$found" "$1/modules/"
  done
  mv "$1"/root/boot/vmlinuz-* "$1/vmlinuz"
  rm -rf "$1/root" "$1"/*.deb
}

# make_initramfs FILE : busybox, the modules of KERNEL and tests/vm/init.
make_initramfs() {
  local tree=$1.tree
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,dev,host,layer,modules,root}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  cp "$KERNEL"/modules/*.ko "$tree/modules/"
  printf '%s\n' "${MODULES[@]}" >"$tree/modules/order"
  install -m 0755 "$SOURCE/tests/vm/init" "$tree/init"
  (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$1"
  rm -rf "$tree"
}
