#!/bin/sh
# The greeter for the `lines` protocol: a line in, a line out, until the input ends.
while IFS= read -r name; do
  printf 'Hello, %s!\n' "$name"
done
