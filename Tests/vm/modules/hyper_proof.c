// SPDX-License-Identifier: GPL-2.0
/*
 * vmbhyper-proof: does the loop-back driver do what vmbhyper.h and README.md say? Runs in the test machine
 * as root with the module loaded; one line for each case, status 0 if all hold.
 *   vmbhyper-proof mmap=0|1 [CARD-NODE]    as the module was loaded; with a DRM device that imports
 */
#include <drm/drm.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proof.h"
#include "vmbhyper.h"

enum { BYTES = 3 * 4096, HEADER = sizeof(struct hyper_dmabuf_event) };

static int node, peer;

static int64_t milliseconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static int open_node(int flags)
{
	return open("/dev/" HYPER_DMABUF_NODE, O_RDWR | O_NONBLOCK | O_CLOEXEC | flags);
}

/* Devices come and go, and devtmpfs with them. */
static int open_node_again(void)
{
	int descriptor = -1;

	for (int i = 0; i < 300 && descriptor < 0; i++, usleep(100000))
		descriptor = open_node(0);
	return must(descriptor, "the node again");
}

/* Buffers */

static int make_buffer(uint8_t **pixels)
{
	int memory = must(memfd_create("proof", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");
	int device = must(open("/dev/udmabuf", O_RDWR | O_CLOEXEC), "/dev/udmabuf");
	struct udmabuf_create wish = { .memfd = memory, .flags = UDMABUF_FLAGS_CLOEXEC, .size = BYTES };

	must(ftruncate(memory, BYTES), "ftruncate");
	must(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), "F_ADD_SEALS");
	int buffer = must(ioctl(device, UDMABUF_CREATE, &wish), "UDMABUF_CREATE");

	if (pixels) {
		*pixels = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
		must(*pixels == MAP_FAILED ? -1 : 0, "mmap");
	}
	close(memory);
	close(device);
	return buffer;
}

static struct hyper_dmabuf_hid export_with(int buffer, uint32_t domain, uint32_t flags, const void *priv,
					   uint32_t size)
{
	struct vmbhyper_export wish = { buffer, domain, flags, size, (uintptr_t)priv, { 0 } };

	must(ioctl(peer, VMBHYPER_EXPORT, &wish), "VMBHYPER_EXPORT");
	return wish.hid;
}

static bool same(struct hyper_dmabuf_hid a, struct hyper_dmabuf_hid b)
{
	return !memcmp(&a, &b, sizeof(a));
}

/* The dma-buf, or -1. */
static int import(struct hyper_dmabuf_hid hid)
{
	struct hyper_dmabuf_export_fd wish = { hid, O_CLOEXEC, -1 };

	return ioctl(node, HYPER_DMABUF_EXPORT_FD, &wish) == 0 ? wish.fd : -1;
}

static int64_t query(struct hyper_dmabuf_hid hid, int item)
{
	struct hyper_dmabuf_query question = { .hid = hid, .item = item };

	return ioctl(node, HYPER_DMABUF_QUERY, &question) == 0 ? (int64_t)question.info : -errno;
}

static struct vmbhyper_state state(struct hyper_dmabuf_hid hid)
{
	struct vmbhyper_state state = { .hid = hid };

	must(ioctl(peer, VMBHYPER_STATE, &state), "VMBHYPER_STATE");
	return state;
}

static bool comes_to_be_unknown(struct hyper_dmabuf_hid hid)
{
	for (int i = 0; i < 300; i++, usleep(100000))
		if (!state(hid).is_known)
			return true;
	return false;
}

static bool comes_to_be_invalid(struct hyper_dmabuf_hid hid)
{
	for (int i = 0; i < 300; i++, usleep(100000))
		if (!state(hid).is_valid)
			return true;
	return false;
}

static void unexport(struct hyper_dmabuf_hid hid, uint32_t delay)
{
	struct vmbhyper_unexport wish = { hid, delay, 0 };

	must(ioctl(peer, VMBHYPER_UNEXPORT, &wish), "VMBHYPER_UNEXPORT");
}

static void answer(uint32_t domain, uint32_t kind, uint32_t delay, int error)
{
	struct vmbhyper_answer wish = { domain, kind, delay, error };

	must(ioctl(peer, VMBHYPER_ANSWER, &wish), "VMBHYPER_ANSWER");
}

static void kill_domain(uint32_t domain)
{
	struct vmbhyper_kill wish = { domain, 0 };

	must(ioctl(peer, VMBHYPER_KILL, &wish), "VMBHYPER_KILL");
}

/* The queue */

struct record {
	struct hyper_dmabuf_event header;
	uint8_t priv[8192];
};

static ssize_t read_one(struct record *record, size_t room)
{
	return read(node, record, room);
}

static void empty_queue(void)
{
	struct record record;

	while (read(node, &record, sizeof(record)) > 0)
		;
}

static void prove_node(void)
{
	expect(fails(open_node(O_EXCL), EBUSY), "O_EXCL is refused");
	expect(HYPER_DMABUF_EXPORT_REMOTE == 0x00284702 && HYPER_DMABUF_EXPORT_FD == 0x00184703 &&
		       HYPER_DMABUF_UNEXPORT == 0x00184704 && HYPER_DMABUF_QUERY == 0x00204705 &&
		       HYPER_DMABUF_RX_CH_SETUP == 0x00044701,
	       "the ioctls have the published numbers");
	expect(fails(ioctl(node, _IOC(_IOC_NONE, 'G', 8, 16), &(uint8_t[16]){ 0 }), EINVAL),
	       "a number without a handler gets EINVAL");
	struct hyper_dmabuf_rx_ch_setup setup = { 77 };

	expect(ioctl(node, HYPER_DMABUF_RX_CH_SETUP, &setup) == 1, "RX_CH_SETUP of nobody returns 1");
}

static void prove_queue(void)
{
	struct record record;
	uint8_t priv[184], other[184];
	int buffer = make_buffer(NULL);

	memset(priv, 1, sizeof(priv));
	memset(other, 2, sizeof(other));
	expect(fails(read_one(&record, sizeof(record)), EAGAIN) && !ready(node, POLLIN, 0),
	       "nothing waits at first");
	struct hyper_dmabuf_hid hid = export_with(buffer, 200, 0, priv, sizeof(priv));

	expect((uint32_t)hid.id >> 24 == 200 && hid.id < 0, "the id has the domain in its highest byte");
	expect(ready(node, POLLIN, 1000), "poll tells of a record");
	expect(read_one(&record, sizeof(record)) == HEADER + 184 && record.header.type == HYPER_DMABUF_NEW_IMPORT &&
		       same(record.header.hid, hid) && record.header.size == 184 &&
		       !memcmp(record.priv, priv, sizeof(priv)),
	       "the record has the id and the private data");
	expect(fails(read_one(&record, sizeof(record)), EAGAIN), "it is read once");

	export_with(buffer, 200, 0, priv, sizeof(priv));
	expect(same(hid, export_with(buffer, 200, 0, other, sizeof(other))), "exported again: the same id");
	expect(read_one(&record, HEADER + 184) == HEADER + 184 && !memcmp(record.priv, other, sizeof(other)) &&
		       read_one(&record, HEADER + 184) == HEADER + 184 && !memcmp(record.priv, other, sizeof(other)),
	       "two records of one buffer both show the later private data");
	expect(!same(hid, export_with(buffer, 200, VMBHYPER_NEW_ID | VMBHYPER_NO_EVENT, priv, 4)) &&
		       fails(read_one(&record, sizeof(record)), EAGAIN),
	       "a new id can be asked for, and a record left out");

	export_with(buffer, 200, 0, priv, sizeof(priv));
	export_with(buffer, 200, 0, priv, sizeof(priv));
	expect(read_one(&record, HEADER + 183) == 0 && ready(node, POLLIN, 1000),
	       "a first record that does not fit gives 0 and stays");
	expect(read_one(&record, 2 * (HEADER + 184)) == 2 * (HEADER + 184), "several records come in one read");

	uint64_t lost = state(hid).lost;

	for (uint32_t i = 0; i < 40; i++)
		export_with(buffer, 1 + i, 0, &i, sizeof(i));
	expect(state(hid).queued == 32 && state(hid).lost == lost + 8, "of 40 records 32 are kept");
	bool in_order = true;

	for (uint32_t i = 8; i < 40; i++)
		in_order &= read_one(&record, HEADER + 4) == HEADER + 4 && *(uint32_t *)record.priv == i;
	expect(in_order, "the oldest are the ones forgotten");

	int brief = make_buffer(NULL);
	struct hyper_dmabuf_hid gone = export_with(brief, 3, 0, priv, sizeof(priv));

	unexport(gone, 0);
	expect(comes_to_be_unknown(gone) && read_one(&record, sizeof(record)) == HEADER + 184 &&
		       same(record.header.hid, gone) && memcmp(record.priv, priv, sizeof(priv)),
	       "private data of a buffer that is gone is no data");

	struct vmbhyper_inject garbage = { (uintptr_t) "garbage", 7, 0 };

	expect(ioctl(peer, VMBHYPER_INJECT, &garbage) == 0 && read_one(&record, sizeof(record)) == 7 &&
		       !memcmp(&record, "garbage", 7),
	       "garbage comes as it was put in");
	uint8_t much[3000] = { 9 };

	export_with(buffer, 200, 0, much, sizeof(much));
	expect(read_one(&record, 216) == 0 && read_one(&record, sizeof(record)) == HEADER + 3000 &&
		       record.header.size == 3000,
	       "a hostile domain's record may be longer than the driver's limit");
	close(brief);
	close(buffer);
}

/* The capability is looked at with each read. */
static void set_override(bool on)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	uint32_t bit = 1u << CAP_DAC_OVERRIDE;

	must(syscall(SYS_capget, &header, data), "capget");
	data[0].effective = on ? data[0].effective | bit : data[0].effective & ~bit;
	must(syscall(SYS_capset, &header, data), "capset");
}

static void prove_privilege(void)
{
	struct record record;
	int buffer = make_buffer(NULL);

	export_with(buffer, 5, 0, "x", 1);
	set_override(false);
	bool is_refused = fails(read_one(&record, sizeof(record)), EPERM);
	bool is_told = ready(node, POLLIN, 0);

	set_override(true);
	expect(is_refused, "a read without CAP_DAC_OVERRIDE is refused, of a node that was opened with it");
	expect(is_told, "poll asks for nothing");
	expect(read_one(&record, sizeof(record)) == HEADER + 1, "and with it the record is there");
	close(buffer);
}

/* Imports */

static ino_t inode(int descriptor)
{
	struct stat facts;

	must(fstat(descriptor, &facts), "fstat");
	return facts.st_ino;
}

/* How the child that touches the first byte of a mapping ends: its exit status, or -signal. */
static int touch(int buffer)
{
	int status;
	pid_t child = must(fork(), "fork");

	if (!child) {
		volatile uint8_t *bytes = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, buffer, 0);

		if (bytes == MAP_FAILED)
			_exit(250);
		_exit(bytes[4096]);
	}
	must(waitpid(child, &status, 0), "waitpid");
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void prove_imports(bool has_pages, const char *card)
{
	uint8_t *pixels;
	int buffer = make_buffer(&pixels);

	pixels[4096] = 42;
	struct hyper_dmabuf_hid hid = export_with(buffer, 7, VMBHYPER_NO_EVENT, "12345", 5);
	struct hyper_dmabuf_hid almost = hid;

	expect(query(hid, HYPER_DMABUF_QUERY_BUSY) == 0 && query(hid, HYPER_DMABUF_QUERY_SIZE) == BYTES,
	       "not busy before it is opened, and its size known");
	int first = must(import(hid), "EXPORT_FD"), second = must(import(hid), "EXPORT_FD");

	expect(inode(first) != inode(second) && inode(first) != inode(buffer), "each call makes a new dma-buf");
	expect(lseek(first, 0, SEEK_END) == BYTES, "of as many bytes");
	if (has_pages)
		expect(touch(first) == 42 && (pixels[4096] = 43) && touch(second) == 43,
		       "all of them are over the exporter's pages");
	else
		expect(touch(first) == -SIGBUS, "mmap succeeds and has no pages");
	if (card) {
		struct drm_prime_handle prime = { .fd = first };
		int device = must(open(card, O_RDWR | O_CLOEXEC), card);

		expect(ioctl(device, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime) == 0, "a device imports them");
		close(device);
	}
	expect(query(hid, HYPER_DMABUF_QUERY_TYPE) == 2 && query(hid, HYPER_DMABUF_QUERY_EXPORTER) == 7 &&
		       query(hid, HYPER_DMABUF_QUERY_IMPORTER) == 0 && query(hid, HYPER_DMABUF_QUERY_BUSY) == 1 &&
		       query(hid, HYPER_DMABUF_QUERY_UNEXPORTED) == 0 &&
		       query(hid, HYPER_DMABUF_QUERY_PRIV_SIZE) == 5,
	       "QUERY knows it");
	char priv[16] = { 0 };
	struct hyper_dmabuf_query question = { .hid = hid, .item = HYPER_DMABUF_QUERY_PRIV, .info = (uintptr_t)priv };

	expect(ioctl(node, HYPER_DMABUF_QUERY, &question) == 0 && !strcmp(priv, "12345"), "and its private data");
	expect(query(hid, HYPER_DMABUF_QUERY_DELAYED) == -EINVAL && query(hid, 0x19) == -EINVAL,
	       "what it does not answer for an import is EINVAL");
	almost.key[2] ^= 1;
	expect(query(almost, HYPER_DMABUF_QUERY_TYPE) == -ENOENT && fails(import(almost), ENOENT),
	       "an id that differs in a bit of its key is unknown");

	unexport(hid, 60000);
	expect(same(hid, export_with(buffer, 7, VMBHYPER_NO_EVENT, "1", 1)) && state(hid).is_valid,
	       "exported again before it was taken back: stays, by the same id");
	unexport(hid, 300);
	int before = import(hid);

	expect(before >= 0, "until the delay is over it can be opened");
	close(before);
	expect(comes_to_be_invalid(hid) && query(hid, HYPER_DMABUF_QUERY_UNEXPORTED) == 1 && fails(import(hid), EINVAL),
	       "then it is invalid");
	if (has_pages)
		expect(touch(first) == 43, "what was opened goes on");
	struct hyper_dmabuf_hid next = export_with(buffer, 7, VMBHYPER_NO_EVENT, "1", 1);

	expect(!same(hid, next), "exported again after that: a new id");
	close(first);
	expect(state(hid).imports == 1 && state(hid).is_known, "it is held by the dma-buf that is left");
	close(second);
	expect(comes_to_be_unknown(hid) && fails(import(hid), ENOENT), "the last one closed, it is gone");
	unexport(next, 0);
	expect(comes_to_be_unknown(next), "one that nobody opened is gone at once");
	munmap(pixels, BYTES);
	close(buffer);
}

static void prove_answers(void)
{
	int buffer = make_buffer(NULL), status;
	struct hyper_dmabuf_hid hid = export_with(buffer, 9, VMBHYPER_NO_EVENT, "1", 1);
	struct hyper_dmabuf_rx_ch_setup setup = { 9 };
	int64_t begin = milliseconds();

	expect(ioctl(node, HYPER_DMABUF_RX_CH_SETUP, &setup) == 0, "RX_CH_SETUP of somebody returns 0");
	answer(9, VMBHYPER_ANSWER_RIGHT, 400, 0);
	int late = import(hid);

	expect(late >= 0 && milliseconds() - begin >= 400, "a domain can be slow");
	close(late);
	answer(9, VMBHYPER_ANSWER_ERROR, 0, -EIO);
	expect(fails(import(hid), EIO), "or answer with an error");
	answer(9, VMBHYPER_ANSWER_NEVER, 0, 0);
	pid_t child = must(fork(), "fork");

	if (!child)
		_exit(import(hid) >= 0);
	usleep(300000);
	expect(waitpid(child, &status, WNOHANG) == 0, "or never");
	kill(child, SIGKILL);
	expect(waitpid(child, &status, 0) == child && WIFSIGNALED(status), "whoever waits for it can be killed");
	kill_domain(9);
	expect(fails(import(hid), EBUSY), "of a dead domain nothing can be opened");
	expect(query(hid, HYPER_DMABUF_QUERY_UNEXPORTED) == 0, "nothing else tells that it is dead");
	export_with(buffer, 9, VMBHYPER_NO_EVENT, "1", 1);
	late = import(hid);
	expect(late >= 0, "until it comes back");
	close(late);
	unexport(hid, 0);
	close(buffer);
}

static void prove_host_exports(void)
{
	int buffer = make_buffer(NULL), own = must(open_node(0), "the node");
	struct hyper_dmabuf_export_remote wish = { buffer, 12, { 0 }, 4, 0, (uintptr_t) "priv" };

	expect(ioctl(own, HYPER_DMABUF_EXPORT_REMOTE, &wish) == 0 &&
		       query(wish.hid, HYPER_DMABUF_QUERY_TYPE) == 1 &&
		       query(wish.hid, HYPER_DMABUF_QUERY_IMPORTER) == 12,
	       "the host can export too");
	expect(fails(import(wish.hid), ENOENT), "but not import that again");
	wish.remote_domain = 0;
	expect(fails(ioctl(own, HYPER_DMABUF_EXPORT_REMOTE, &wish), EINVAL), "and not to itself");
	close(own);
	expect(comes_to_be_unknown(wish.hid), "what a file exported is taken back with it");
	close(buffer);
}

/* uevents */

/* The next message of our node within half a minute, parts joined by a space; empty if none came. */
static const char *next_uevent(int socket)
{
	static char text[8192];
	struct pollfd wait = { .fd = socket, .events = POLLIN };

	while (poll(&wait, 1, 30000) == 1) {
		ssize_t count = recv(socket, text, sizeof(text) - 1, 0);

		if (count <= 0)
			break;
		text[count] = 0;
		for (ssize_t i = 0; i < count; i++)
			if (!text[i])
				text[i] = ' ';
		if (strstr(text, "DEVNAME=" HYPER_DMABUF_NODE " "))
			return text;
	}
	return "";
}

static void set_node(uint32_t present)
{
	struct vmbhyper_node wish = { present, 0 };

	must(ioctl(peer, VMBHYPER_NODE, &wish), "VMBHYPER_NODE");
}

static void prove_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int socket_ = must(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT), "netlink");
	int buffer = make_buffer(NULL);
	struct record record;
	const char *text;
	char digits[33], wanted[64];

	must(bind(socket_, (struct sockaddr *)&address, sizeof(address)), "bind");
	struct hyper_dmabuf_hid hid = export_with(buffer, 11, VMBHYPER_UEVENT, "1", 1);

	text = next_uevent(socket_);
	expect(!strncmp(text, "change@", 7) && !strstr(text, "HYPER_DMABUF_ID"), "a uevent can tell of an export");
	export_with(buffer, 11, VMBHYPER_UEVENT_ID, "1", 1);
	for (int i = 0; i < 16; i++)
		sprintf(digits + 2 * i, "%02x", ((uint8_t *)&hid)[i]);
	sprintf(wanted, "HYPER_DMABUF_ID=%s ", digits);
	text = next_uevent(socket_);
	expect(!strncmp(text, "change@", 7) && strstr(text, wanted), "and of its id");
	empty_queue();

	export_with(buffer, 11, 0, "1", 1);
	set_node(0);
	expect(!strncmp(next_uevent(socket_), "remove@", 7), "the node goes with a uevent");
	expect(ready(node, POLLHUP, 30000) && fails(read_one(&record, sizeof(record)), ENODEV) &&
		       query(hid, HYPER_DMABUF_QUERY_TYPE) == -ENODEV,
	       "who has it open hears ENODEV");
	set_node(1);
	expect(!strncmp(next_uevent(socket_), "add@", 4), "and comes with one");
	close(node);
	node = open_node_again();
	expect(read_one(&record, sizeof(record)) == HEADER + 1, "what waited still waits");
	close(socket_);
	close(buffer);
}

int main(int count, char **words)
{
	bool has_pages = count > 1 && !strcmp(words[1], "mmap=1");

	peer = must(open("/dev/" VMBHYPER_PEER_NODE, O_RDWR | O_CLOEXEC), "the peer's node");
	node = must(open_node(0), "the node");
	prove_node();
	prove_queue();
	prove_privilege();
	prove_imports(has_pages, count > 2 ? words[2] : NULL);
	prove_answers();
	prove_host_exports();
	prove_uevents();

	int left = make_buffer(NULL);
	struct hyper_dmabuf_hid hid = export_with(left, 13, VMBHYPER_NO_EVENT, "1", 1);

	close(peer);
	for (int i = 0; i < 300 && query(hid, HYPER_DMABUF_QUERY_TYPE) != -ENOENT; i++)
		usleep(100000);
	expect(query(hid, HYPER_DMABUF_QUERY_TYPE) == -ENOENT, "with the peer's last file its domains end");
	printf("cases: %d, failed: %d\n", cases, failures);
	return failures || !cases;
}
