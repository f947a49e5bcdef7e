/**
 * Who is on two bridges answers by its default route, whichever of them it was asked by. Where the machine checks the
 * source address strictly (`net.ipv4.conf.all.rp_filter=1`), the answer comes by an interface by which the kernel would
 * not send to it, and is dropped: published ports are dead. The kernel takes the larger of that and the interface's own
 * (ip-sysctl.rst, rp_filter), so a bridge with an IPv4 subnet, or with a firewall and an IPv4 address, has 2: loose, by
 * whichever interface it comes.
 */
export const RP_FILTER = 'ipv4.conf.rp_filter';

export const LOOSE = '2';
