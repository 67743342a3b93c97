/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * vmbhyper.h - what user space and the loop-back driver "vmbhyper" agree on. The first half is the
 * interface of hyper_dmabuf (the importing host's side, 64 bit), written down from its published
 * description; the second half is ours: a node that plays the virtual machines which export.
 */
#ifndef VMBHYPER_H
#define VMBHYPER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The driver's own interface, as in the kernels of Intel and ACRN. */

#define HYPER_DMABUF_NODE "hyper_dmabuf"

/* Names a buffer between domains. Compare all 16 bytes. */
struct hyper_dmabuf_hid {
	__s32 id; /* (exporting domain & 0xff) << 24 | counter & 0xffffff */
	__s32 key[3];
};

/* A record of the event queue, followed by `size` bytes of private data. */
struct hyper_dmabuf_event {
	__s32 type;
	struct hyper_dmabuf_hid hid;
	__s32 size;
};
#define HYPER_DMABUF_NEW_IMPORT 0x10000
#define HYPER_DMABUF_PRIV_MAX 192
#define HYPER_DMABUF_QUEUE_DEPTH 32

struct hyper_dmabuf_tx_ch_setup {
	__s32 remote_domain;
};
struct hyper_dmabuf_rx_ch_setup {
	__s32 source_domain;
};
struct hyper_dmabuf_export_remote {
	__s32 dmabuf_fd;
	__s32 remote_domain;
	struct hyper_dmabuf_hid hid; /* out */
	__s32 sz_priv;
	__s32 pad;
	__u64 priv; /* user pointer */
};
struct hyper_dmabuf_export_fd {
	struct hyper_dmabuf_hid hid;
	__s32 flags;
	__s32 fd; /* out */
};
struct hyper_dmabuf_unexport {
	struct hyper_dmabuf_hid hid;
	__s32 delay_ms;
	__s32 status; /* out */
};
struct hyper_dmabuf_query {
	struct hyper_dmabuf_hid hid;
	__s32 item;
	__s32 pad;
	__u64 info; /* in: user pointer for PRIV_INFO; out: the answer of all others */
};

#define HYPER_DMABUF_QUERY_TYPE 0x10
#define HYPER_DMABUF_QUERY_EXPORTER 0x11
#define HYPER_DMABUF_QUERY_IMPORTER 0x12
#define HYPER_DMABUF_QUERY_SIZE 0x13
#define HYPER_DMABUF_QUERY_BUSY 0x14
#define HYPER_DMABUF_QUERY_UNEXPORTED 0x15
#define HYPER_DMABUF_QUERY_DELAYED 0x16
#define HYPER_DMABUF_QUERY_PRIV_SIZE 0x17
#define HYPER_DMABUF_QUERY_PRIV 0x18

/* No direction bits: (size << 16) | 'G' << 8 | number. */
#define HYPER_DMABUF_IOCTL(number, type) _IOC(_IOC_NONE, 'G', number, sizeof(type))
#define HYPER_DMABUF_TX_CH_SETUP HYPER_DMABUF_IOCTL(0, struct hyper_dmabuf_tx_ch_setup)
#define HYPER_DMABUF_RX_CH_SETUP HYPER_DMABUF_IOCTL(1, struct hyper_dmabuf_rx_ch_setup)
#define HYPER_DMABUF_EXPORT_REMOTE HYPER_DMABUF_IOCTL(2, struct hyper_dmabuf_export_remote)
#define HYPER_DMABUF_EXPORT_FD HYPER_DMABUF_IOCTL(3, struct hyper_dmabuf_export_fd)
#define HYPER_DMABUF_UNEXPORT HYPER_DMABUF_IOCTL(4, struct hyper_dmabuf_unexport)
#define HYPER_DMABUF_QUERY HYPER_DMABUF_IOCTL(5, struct hyper_dmabuf_query)

/*
 * Ours: the other side. Whoever opens this node is all virtual machines at once. They end with it: when
 * the last open file is closed, every domain is killed and its buffers are unexported.
 */

#define VMBHYPER_PEER_NODE "hyper_dmabuf_peer"

/* Flags of an export. */
#define VMBHYPER_NO_EVENT 1u  /* the record of this export is lost */
#define VMBHYPER_UEVENT 2u    /* and a uevent "change" tells of it */
#define VMBHYPER_UEVENT_ID 4u /* which has HYPER_DMABUF_ID=<32 hexadecimal digits> */
#define VMBHYPER_NEW_ID 8u    /* a new id even if this dma-buf has one already */

/*
 * The domain exports a dma-buf to this host. The same dma-buf of the same domain again: the same id, new
 * private data, one more event; an unexport that was scheduled is off. Errors: EINVAL (domain 0 or above
 * 255, an unknown flag, more than 4096 bytes), EBADF, EFAULT, ENOMEM.
 */
struct vmbhyper_export {
	__s32 buffer; /* a dma-buf */
	__u32 domain;
	__u32 flags;
	__u32 priv_size; /* the driver's own limit is 192, but a hostile domain may say more */
	__u64 priv;      /* user pointer */
	struct hyper_dmabuf_hid hid; /* out */
};

/* The domain takes a buffer back after a time. Errors: ENOENT. */
struct vmbhyper_unexport {
	struct hyper_dmabuf_hid hid;
	__u32 delay_ms;
	__u32 pad;
};

/* How a domain answers EXPORT_FD from now on. */
#define VMBHYPER_ANSWER_RIGHT 0
#define VMBHYPER_ANSWER_ERROR 1 /* with `error`, a negative errno */
#define VMBHYPER_ANSWER_NEVER 2 /* the caller waits until it is killed, or this changes */
struct vmbhyper_answer {
	__u32 domain;
	__u32 kind;
	__u32 delay_ms; /* before it answers */
	__s32 error;
};

/*
 * The domain is gone: it answers nothing, not even that a buffer is not there any more; nothing tells of
 * it. An EXPORT_FD fails with EBUSY after a tenth of a second. The next export brings it back.
 */
struct vmbhyper_kill {
	__u32 domain;
	__u32 pad;
};

/* Puts a record into the queue as it is, sense or nonsense: 1 to 8192 bytes. */
struct vmbhyper_inject {
	__u64 bytes; /* user pointer */
	__u32 count;
	__u32 pad;
};

/* The host's node goes (0) or comes (1), as if the driver did: with its uevent. Errors: EALREADY. */
struct vmbhyper_node {
	__u32 present;
	__u32 pad;
};

/* A uevent "change" of the node, with an id if the flag VMBHYPER_UEVENT_ID is set. Errors: ENODEV. */
struct vmbhyper_uevent {
	struct hyper_dmabuf_hid hid;
	__u32 flags;
	__u32 pad;
};

/* How things stand; a buffer's part is 0 when nothing has that id. */
struct vmbhyper_state {
	struct hyper_dmabuf_hid hid; /* in */
	__u32 is_known;
	__u32 is_valid;
	__u32 imports; /* dma-bufs made of it that are still held */
	__u32 queued;  /* records that wait */
	__u64 lost;    /* records that were forgotten, since loading */
	__u64 exports; /* EXPORT_FD calls that succeeded, since loading */
};

#define VMBHYPER_EXPORT _IOWR('V', 0x40, struct vmbhyper_export)
#define VMBHYPER_UNEXPORT _IOW('V', 0x41, struct vmbhyper_unexport)
#define VMBHYPER_ANSWER _IOW('V', 0x42, struct vmbhyper_answer)
#define VMBHYPER_KILL _IOW('V', 0x43, struct vmbhyper_kill)
#define VMBHYPER_INJECT _IOW('V', 0x44, struct vmbhyper_inject)
#define VMBHYPER_NODE _IOW('V', 0x45, struct vmbhyper_node)
#define VMBHYPER_UEVENT_NOW _IOW('V', 0x46, struct vmbhyper_uevent)
#define VMBHYPER_STATE _IOWR('V', 0x47, struct vmbhyper_state)

#endif
