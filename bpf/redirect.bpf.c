// SPDX-License-Identifier: (MIT OR Apache-2.0) AND GPL-2.0
/*
 * One question for each frame: is this UDP for one of our media ports? Then it goes to the AF_XDP
 * socket of the queue that it arrived on, else to the kernel, untouched.
 *
 *   Ethernet ─► at most two VLAN tags ─► IPv4 without options, whole ─┐
 *                                    └► IPv6 without extension headers ┴► UDP ─► (address, port) a media
 *                                                                              port? ─► xsks[queue]
 *
 * Whatever is anything else (ARP, SIP, ssh, fragments, options, a third tag, a truncated header) is the
 * kernel's business. So is a media packet whose queue has no socket: the slot is empty and the packet
 * passes. Each answer has a counter; their order is that of `Verdict` in dataplane/af-xdp/src/verdict.rs.
 *
 * One instance is loaded for each device: `xsks` is indexed by that device's queue numbers.
 * Only kernel headers are used, no BTF of the running kernel. Built by scripts/build-bpf.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) value *name
#define inline __inline __attribute__((always_inline))
#define swap16(x) __builtin_bswap16(x)

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;

/* IEEE 802.1Q tag: what follows the ethertype that announces it. */
struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

/* First and last media port of an address, inclusive, host byte order. */
struct port_range {
	__u16 first;
	__u16 last;
};

struct ipv6_address {
	__u8 bytes[16];
};

enum verdict {
	REDIRECTED,
	NOT_IP,
	TRUNCATED,
	IPV4_OPTIONS,
	IPV4_FRAGMENT,
	IPV6_EXTENSION,
	NOT_UDP,
	NOT_MEDIA_ADDRESS,
	NOT_MEDIA_PORT,
	NO_SOCKET,
	VERDICTS,
};

struct verdict_counts {
	__u64 frames[VERDICTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be32);
	__type(value, struct port_range);
} media_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct ipv6_address);
	__type(value, struct port_range);
} media_v6 SEC(".maps");

/* One entry that holds every counter: a frame costs one look-up of it, a reader one system call. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct verdict_counts);
} verdicts SEC(".maps");

static inline int is_vlan(__be16 ethertype)
{
	return ethertype == swap16(ETH_P_8021Q) || ethertype == swap16(ETH_P_8021AD);
}

/* REDIRECTED when `port` (host byte order) is one of the address's media ports. */
static inline enum verdict in_range(const struct port_range *range, __u16 port)
{
	if (!range)
		return NOT_MEDIA_ADDRESS;
	if (port < range->first || port > range->last)
		return NOT_MEDIA_PORT;
	return REDIRECTED;
}

static inline enum verdict udp_verdict(const struct udphdr *udp, void *end, const struct port_range *range)
{
	if ((void *)(udp + 1) > end)
		return TRUNCATED;
	return in_range(range, swap16(udp->dest));
}

static inline enum verdict ipv4_verdict(const struct iphdr *ip, void *end)
{
	if ((void *)(ip + 1) > end)
		return TRUNCATED;
	if (ip->version != 4)
		return NOT_IP;
	if (ip->ihl != 5)
		return IPV4_OPTIONS;
	/* More fragments, or an offset: the low 14 bits without "don't fragment". */
	if (ip->frag_off & swap16(0x3fff))
		return IPV4_FRAGMENT;
	if (ip->protocol != IPPROTO_UDP)
		return NOT_UDP;
	return udp_verdict((const void *)(ip + 1), end, map_lookup(&media_v4, &ip->daddr));
}

/* The headers that may stand between an IPv6 header and its payload (IANA, "IPv6 Extension Header Types"). */
static inline int is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_DSTOPTS || next == IPPROTO_AH || next == IPPROTO_MH || next == 139 || next == 140;
}

static inline enum verdict ipv6_verdict(const struct ipv6hdr *ip, void *end)
{
	if ((void *)(ip + 1) > end)
		return TRUNCATED;
	if (ip->version != 6)
		return NOT_IP;
	if (is_extension(ip->nexthdr))
		return IPV6_EXTENSION;
	if (ip->nexthdr != IPPROTO_UDP)
		return NOT_UDP;
	return udp_verdict((const void *)(ip + 1), end, map_lookup(&media_v6, &ip->daddr));
}

static inline enum verdict frame_verdict(const struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	const struct ethhdr *ethernet = (void *)(long)ctx->data;
	const struct vlan_tag *tag = (const void *)(ethernet + 1);
	__be16 ethertype;

	if ((void *)tag > end)
		return TRUNCATED;
	ethertype = ethernet->h_proto;
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (!is_vlan(ethertype))
			break;
		if ((void *)(tag + 1) > end)
			return TRUNCATED;
		ethertype = tag->ethertype;
		tag++;
	}
	if (ethertype == swap16(ETH_P_IP))
		return ipv4_verdict((const void *)tag, end);
	if (ethertype == swap16(ETH_P_IPV6))
		return ipv6_verdict((const void *)tag, end);
	return NOT_IP;
}

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	__u32 only = 0;
	struct verdict_counts *counts = map_lookup(&verdicts, &only);
	enum verdict verdict = frame_verdict(ctx);
	long action = XDP_PASS;

	if (verdict == REDIRECTED) {
		/* The flags are the action when the slot is empty. */
		action = redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = NO_SOCKET;
	}
	if (counts && verdict < VERDICTS)
		counts->frames[verdict]++;
	return action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
