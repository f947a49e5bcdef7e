# shellcheck shell=bash
# Sourced by the other scripts: where the checkout is, and a PATH in which `node` is the project's own
# (script/bootstrap puts it in .tools) and the tools in /usr/sbin are found even after `su` without `-`.

NETNSD_ROOT=$(cd -- "${BASH_SOURCE[0]%/*}/.." && pwd -P)
export NETNSD_ROOT

case :$PATH: in
  *:/usr/sbin:*) ;;
  *) PATH=$PATH:/usr/sbin:/sbin ;;
esac
case $PATH in
  "$NETNSD_ROOT"/.tools/node/bin:*) ;;
  *) PATH=$NETNSD_ROOT/.tools/node/bin:$PATH ;;
esac
export PATH
