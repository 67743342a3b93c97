/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the module vmbhyper have of each other. */
#ifndef HYPER_H
#define HYPER_H

#include <linux/dma-buf.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>

#include "vmbhyper.h"

#define HYPER_DOMAINS 256
#define HYPER_PRIV_LIMIT 4096

/*
 * A buffer that crosses between domains. One reference for being known, one for each dma-buf made of it
 * and for each record that speaks of it, one for a scheduled unexport. All but hid, the domains and source
 * belongs to hyper_lock.
 */
struct hyper_buffer {
	struct kref references;
	struct list_head link;
	struct hyper_dmabuf_hid hid;
	u32 exporter, importer;
	struct dma_buf *source;
	void *owner; /* the open file of an export from this host, else NULL */
	bool is_known, is_valid, is_scheduled;
	u32 imports;
	u32 priv_size;
	u8 *priv;
	struct delayed_work unexport;
};

/* Guards all state of buffers, domains and the queue. Never held while a domain is waited for. */
extern struct mutex hyper_lock;
extern struct list_head hyper_buffers;

/* buffers: hyper_buffer.c. All with hyper_lock held, if not said otherwise. */
struct hyper_buffer *hyper_find(const struct hyper_dmabuf_hid *hid);
int hyper_export(struct dma_buf *source, u32 exporter, u32 importer, void *owner, bool new_id,
		 u8 *priv, u32 priv_size, struct hyper_buffer **out); /* takes source and priv over */
void hyper_unexport(struct hyper_buffer *buffer, u32 delay_ms);
void hyper_put(struct hyper_buffer *buffer);
/* Without the lock. */
int hyper_buffers_init(void);
void hyper_buffers_exit(void);
struct dma_buf *hyper_import(struct hyper_buffer *buffer);

/* the queue and the host's node: hyper_node.c */
void hyper_queue_new(struct hyper_buffer *buffer);
int hyper_queue_raw(u8 *bytes, u32 count); /* takes bytes over */
void hyper_queue_facts(u32 *queued, u64 *lost, u64 *exports);
void hyper_queue_clear(void);
int hyper_node_set(bool present);
int hyper_node_uevent(const struct hyper_dmabuf_hid *hid);

/* the domains: hyper_peer.c */
int hyper_ask(u32 domain); /* waits for the domain's answer to EXPORT_FD; without the lock */
bool hyper_is_there(u32 domain);
int hyper_peer_init(void);
void hyper_peer_exit(void);

#endif
