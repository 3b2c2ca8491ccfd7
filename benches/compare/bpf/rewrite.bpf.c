// SPDX-License-Identifier: (MIT OR Apache-2.0) AND GPL-2.0
/*
 * The least that a relay must do to a packet, and nothing else: the ceiling that the others are held against.
 *
 *   Ethernet ─► IPv4 without options, whole ─► UDP ─► flows[destination port] ─► new MACs, addresses, ports,
 *                                                     both checksums ─► the other device
 *
 * No counters, no latching, no tags, no IPv6, no RTP: a packet that is not exactly one of a flow goes to the
 * kernel. One instance is loaded for each device; `flows` is indexed by the local port of that side, and
 * `other` holds the other side's device. Loaded by benches/compare/src/xdp_relay.rs, which fills `flows`
 * byte by byte: the two layouts are one. Built by scripts/build-bpf.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) value *name
#define inline __inline __attribute__((always_inline))
#define swap16(x) __builtin_bswap16(x)

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;

/* 40 bytes. Addresses and ports as on the wire. The deltas are ones' complement sums of what is new and the
 * complement of what was (RFC 1624): of the addresses, and of the addresses and ports. */
struct flow {
	__be32 local;
	__be32 source;
	__be32 new_source;
	__be32 new_destination;
	__be16 source_port;
	__be16 new_source_port;
	__be16 new_destination_port;
	__u16 ip_delta;
	__u16 udp_delta;
	__u8 macs[2 * ETH_ALEN]; /* destination, source */
	__u8 rest[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} other SEC(".maps");

static inline __u16 updated(__u16 checksum, __u16 delta)
{
	__u32 sum = (__u16)~checksum + (__u32)delta;

	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

SEC("xdp")
int rewrite(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct udphdr *udp = (void *)(ip + 1);
	const struct flow *flow;
	__u32 port;

	if ((void *)(udp + 1) > end || ethernet->h_proto != swap16(ETH_P_IP))
		return XDP_PASS;
	/* More fragments, or an offset: the low 14 bits without "don't fragment". */
	if (ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP || (ip->frag_off & swap16(0x3fff)))
		return XDP_PASS;
	port = swap16(udp->dest);
	flow = map_lookup(&flows, &port);
	if (!flow || ip->daddr != flow->local || ip->saddr != flow->source || udp->source != flow->source_port)
		return XDP_PASS;

	__builtin_memcpy(ethernet, flow->macs, sizeof(flow->macs));
	ip->saddr = flow->new_source;
	ip->daddr = flow->new_destination;
	ip->check = updated(ip->check, flow->ip_delta);
	udp->source = flow->new_source_port;
	udp->dest = flow->new_destination_port;
	if (udp->check) {
		__u16 check = updated(udp->check, flow->udp_delta);

		udp->check = check ? check : 0xffff;
	}
	return redirect_map(&other, 0, XDP_DROP);
}

char _license[] SEC("license") = "Dual BSD/GPL";
