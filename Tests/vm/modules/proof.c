// SPDX-License-Identifier: GPL-2.0
/*
 * vmbtest-proof: does the test device do what vmbtest.h and README.md say? Runs in the test machine with
 * the module loaded; one line for each case, status 0 if all hold.
 *   vmbtest-proof CARD-NODE RENDER-NODE
 */
#include <drm/drm.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/sync_file.h>
#include <linux/udmabuf.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "proof.h"
#include "vmbtest.h"

enum { WIDTH = 64, HEIGHT = 48, BYTES = WIDTH * HEIGHT * 4 }; /* three pages */

static int card, render;

/* 0 pending, 1 signalled, else what it failed with. */
static int status(int sync_file)
{
	struct sync_file_info info = { 0 };

	must(ioctl(sync_file, SYNC_IOC_FILE_INFO, &info), "SYNC_IOC_FILE_INFO");
	return info.status;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Buffers */

static void *map(int descriptor, uint64_t offset)
{
	void *bytes = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, offset);

	must(bytes == MAP_FAILED ? -1 : 0, "mmap");
	return bytes;
}

static void draw(uint32_t *pixels, uint32_t seed)
{
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		pixels[i] = (seed + i) * 2654435761u;
}

static bool shows(const uint32_t *pixels, uint32_t seed)
{
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		if (pixels[i] != (seed + i) * 2654435761u)
			return false;
	return true;
}

static uint32_t make_dumb(void)
{
	struct drm_mode_create_dumb dumb = { .width = WIDTH, .height = HEIGHT, .bpp = 32 };

	must(ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &dumb), "CREATE_DUMB");
	return dumb.handle;
}

static uint32_t *map_dumb(uint32_t handle)
{
	struct drm_mode_map_dumb place = { .handle = handle };

	must(ioctl(card, DRM_IOCTL_MODE_MAP_DUMB, &place), "MAP_DUMB");
	return map(card, place.offset);
}

static int export_buffer(uint32_t handle)
{
	struct drm_prime_handle prime = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };

	must(ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime), "PRIME_HANDLE_TO_FD");
	return prime.fd;
}

static uint32_t import_buffer(int device, int buffer)
{
	struct drm_prime_handle prime = { .fd = buffer };

	must(ioctl(device, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime), "PRIME_FD_TO_HANDLE");
	return prime.handle;
}

static int make_udmabuf(void)
{
	int memory = must(memfd_create("proof", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");
	int device = must(open("/dev/udmabuf", O_RDWR | O_CLOEXEC), "/dev/udmabuf");
	struct udmabuf_create wish = { .memfd = memory, .flags = UDMABUF_FLAGS_CLOEXEC, .size = BYTES };

	must(ftruncate(memory, BYTES), "ftruncate");
	must(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), "F_ADD_SEALS");
	int buffer = must(ioctl(device, UDMABUF_CREATE, &wish), "UDMABUF_CREATE");
	close(memory);
	close(device);
	return buffer;
}

static int make_heap_buffer(void)
{
	int device = must(open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC), "/dev/dma_heap/system");
	struct dma_heap_allocation_data wish = { .len = BYTES, .fd_flags = O_RDWR | O_CLOEXEC };

	must(ioctl(device, DMA_HEAP_IOCTL_ALLOC, &wish), "DMA_HEAP_IOCTL_ALLOC");
	close(device);
	return wish.fd;
}

/* Fences */

static struct vmbtest_fence make_fence_on(int device, uint32_t kind, uint32_t handle, uint32_t usage)
{
	struct vmbtest_fence wish = { .kind = kind, .flags = VMBTEST_SYNC_FILE, .handle = handle, .usage = usage };

	must(ioctl(device, DRM_IOCTL_VMBTEST_FENCE, &wish), "VMBTEST_FENCE");
	return wish;
}

static struct vmbtest_fence make_fence(uint32_t kind)
{
	return make_fence_on(render, kind, 0, 0);
}

static int end_fence(int device, uint32_t id, int error)
{
	struct vmbtest_signal wish = { .id = id, .error = error };

	return ioctl(device, DRM_IOCTL_VMBTEST_SIGNAL, &wish);
}

static int export_sync_file(int buffer, uint32_t flags)
{
	struct dma_buf_export_sync_file wish = { .flags = flags, .fd = -1 };

	must(ioctl(buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &wish), "EXPORT_SYNC_FILE");
	return wish.fd;
}

static int import_sync_file(int buffer, int fence, uint32_t flags)
{
	struct dma_buf_import_sync_file wish = { .flags = flags, .fd = fence };

	return ioctl(buffer, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &wish);
}

/* Sync objects */

static uint32_t make_syncobj(void)
{
	struct drm_syncobj_create wish = { 0 };

	must(ioctl(render, DRM_IOCTL_SYNCOBJ_CREATE, &wish), "SYNCOBJ_CREATE");
	return wish.handle;
}

static int transfer(uint32_t from, uint64_t from_point, uint32_t to, uint64_t to_point)
{
	struct drm_syncobj_transfer wish = {
		.src_handle = from, .src_point = from_point, .dst_handle = to, .dst_point = to_point,
	};

	return ioctl(render, DRM_IOCTL_SYNCOBJ_TRANSFER, &wish);
}

static int put_on_timeline(uint32_t timeline, uint64_t point, int sync_file)
{
	uint32_t between = make_syncobj();
	struct drm_syncobj_handle wish = {
		.handle = between, .flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE, .fd = sync_file,
	};
	struct drm_syncobj_destroy done = { .handle = between };

	must(ioctl(render, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &wish), "SYNCOBJ_FD_TO_HANDLE of a sync_file");
	int result = transfer(between, 0, timeline, point);
	must(ioctl(render, DRM_IOCTL_SYNCOBJ_DESTROY, &done), "SYNCOBJ_DESTROY");
	return result;
}

static int take_from_timeline(uint32_t timeline, uint64_t point)
{
	uint32_t between = make_syncobj();
	struct drm_syncobj_handle wish = {
		.handle = between, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1,
	};

	must(transfer(timeline, point, between, 0), "SYNCOBJ_TRANSFER from a point");
	must(ioctl(render, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &wish), "SYNCOBJ_HANDLE_TO_FD of a sync_file");
	return wish.fd;
}

static int wait_for_point(uint32_t timeline, uint64_t point, uint32_t flags, int milliseconds)
{
	struct drm_syncobj_timeline_wait wish = {
		.handles = (uintptr_t)&timeline, .points = (uintptr_t)&point, .count_handles = 1,
		.flags = flags, .timeout_nsec = now() + milliseconds * 1000000LL,
	};

	return ioctl(render, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &wish);
}

static int event_at(uint32_t timeline, uint64_t point, uint32_t flags)
{
	int event = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
	struct drm_syncobj_eventfd wish = { .handle = timeline, .point = point, .flags = flags, .fd = event };

	must(ioctl(render, DRM_IOCTL_SYNCOBJ_EVENTFD, &wish), "SYNCOBJ_EVENTFD");
	return event;
}

static uint64_t latest_point(int device, uint32_t timeline)
{
	uint64_t point = 0;
	struct drm_syncobj_timeline_array wish = {
		.handles = (uintptr_t)&timeline, .points = (uintptr_t)&point, .count_handles = 1,
	};

	must(ioctl(device, DRM_IOCTL_SYNCOBJ_QUERY, &wish), "SYNCOBJ_QUERY");
	return point;
}

/* The cases */

static bool is_vmbtest(int device)
{
	char name[32] = "";
	struct drm_version version = { .name_len = sizeof(name) - 1, .name = name };

	return ioctl(device, DRM_IOCTL_VERSION, &version) == 0 && strcmp(name, VMBTEST_DRIVER_NAME) == 0;
}

static uint64_t capability(uint64_t which)
{
	struct drm_get_cap wish = { .capability = which };

	return ioctl(render, DRM_IOCTL_GET_CAP, &wish) == 0 ? wish.value : 0;
}

static void device_cases(void)
{
	struct drm_mode_get_connector connector = { 0 };
	struct drm_mode_card_res resources = { .connector_id_ptr = (uintptr_t)&connector.connector_id };

	expect(is_vmbtest(card) && is_vmbtest(render), "both nodes are vmbtest's");
	expect(capability(DRM_CAP_DUMB_BUFFER) == 1, "it has dumb buffers");
	expect(capability(DRM_CAP_PRIME) == (DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT), "it imports and exports");
	expect(capability(DRM_CAP_SYNCOBJ) == 1 && capability(DRM_CAP_SYNCOBJ_TIMELINE) == 1,
	       "it has sync objects with time lines");
	must(ioctl(card, DRM_IOCTL_MODE_GETRESOURCES, &resources), "GETRESOURCES");
	resources = (struct drm_mode_card_res){
		.connector_id_ptr = (uintptr_t)&connector.connector_id, .count_connectors = resources.count_connectors,
	};
	must(ioctl(card, DRM_IOCTL_MODE_GETRESOURCES, &resources), "GETRESOURCES");
	must(ioctl(card, DRM_IOCTL_MODE_GETCONNECTOR, &connector), "GETCONNECTOR");
	expect(resources.count_connectors == 1 && connector.connection == 1 && connector.count_modes > 0,
	       "it has one connector, plugged in, with modes (%u)", connector.count_modes);
}

static void own_buffer_cases(void)
{
	uint32_t handle = make_dumb(), *pixels = map_dumb(handle);
	int buffer = export_buffer(handle);

	draw(pixels, 1);
	expect(shows(map(buffer, 0), 1), "a dumb buffer: created, mapped, written; its export shows the same");
	expect(import_buffer(card, buffer) == handle, "its export, imported again, is the same buffer");
	draw(pixels, 2);
	expect(shows(map(export_buffer(import_buffer(render, buffer)), 0), 2),
	       "imported by the other node and exported again it still shows the same");
	close(buffer);
}

static void import_cases(const char *kind, int buffer)
{
	uint32_t *theirs = map(buffer, 0), handle = import_buffer(card, buffer), *ours;

	draw(theirs, 3);
	ours = map_dumb(handle);
	expect(shows(ours, 3), "a %s: imported and mapped, its pixels are equal", kind);
	draw(ours, 4);
	expect(shows(theirs, 4), "a %s: what is written through the import is in it", kind);
	struct vmbtest_fence fence = make_fence_on(card, VMBTEST_PENDING, handle, VMBTEST_WRITE);
	expect(!ready(buffer, POLLIN, 50), "a %s with a pending fence attached to its import is busy", kind);
	must(end_fence(card, fence.id, 0), "VMBTEST_SIGNAL");
	expect(ready(buffer, POLLIN, 1000), "a %s is idle when the fence has signalled", kind);

	fence = make_fence(VMBTEST_PENDING);
	expect(import_sync_file(buffer, fence.descriptor, DMA_BUF_SYNC_WRITE) == 0 && !ready(buffer, POLLIN, 50),
	       "a %s is busy with a pending fence that IMPORT_SYNC_FILE put into it", kind);
	must(end_fence(render, fence.id, 0), "VMBTEST_SIGNAL");
	expect(ready(buffer, POLLIN, 1000), "a %s is idle when that has signalled", kind);
	close(buffer);
}

static void fence_cases(void)
{
	struct vmbtest_fence fence = make_fence(VMBTEST_PENDING);

	expect(status(fence.descriptor) == 0 && !ready(fence.descriptor, POLLIN, 200), "a pending fence is not ready");
	expect(fails(end_fence(card, fence.id, 0), ENOENT), "no other open file can signal it");
	must(end_fence(render, fence.id, 0), "VMBTEST_SIGNAL");
	expect(ready(fence.descriptor, POLLIN, 1000) && status(fence.descriptor) == 1, "it is ready when it has signalled");
	expect(fails(end_fence(render, fence.id, 0), ENOENT), "it signals but once");

	fence = make_fence(VMBTEST_PENDING);
	must(end_fence(render, fence.id, -EIO), "VMBTEST_SIGNAL");
	expect(ready(fence.descriptor, POLLIN, 1000) && status(fence.descriptor) == -EIO, "a pending fence may end with -EIO");

	fence = make_fence(VMBTEST_SIGNALLED);
	expect(fence.id == 0 && ready(fence.descriptor, POLLIN, 0) && status(fence.descriptor) == 1,
	       "a signalled fence is ready at once");
	fence = make_fence(VMBTEST_FAILED);
	expect(fence.id == 0 && ready(fence.descriptor, POLLIN, 0) && status(fence.descriptor) == -EIO,
	       "a failed fence is ready at once, its status -EIO");

	struct vmbtest_fence wrong[] = {
		{ .kind = VMBTEST_FAILED + 1, .flags = VMBTEST_SYNC_FILE },
		{ .flags = VMBTEST_SYNC_FILE | 2 },
		{ .flags = VMBTEST_SYNC_FILE, .usage = VMBTEST_READ },
		{ .kind = VMBTEST_PENDING },
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		expect(fails(ioctl(render, DRM_IOCTL_VMBTEST_FENCE, &wrong[i]), EINVAL), "wrong wish %zu is refused", i + 1);
	struct vmbtest_fence nowhere = { .handle = 4711 };
	expect(fails(ioctl(render, DRM_IOCTL_VMBTEST_FENCE, &nowhere), ENOENT), "a buffer that is not there is refused");
	fence = make_fence(VMBTEST_PENDING);
	expect(fails(end_fence(render, fence.id, 1), EINVAL), "no fence ends with a positive error");
}

static void closing_cases(const char *node)
{
	int other = must(open(node, O_RDWR | O_CLOEXEC), node);
	struct vmbtest_fence pending = make_fence_on(other, VMBTEST_PENDING, 0, 0);
	struct vmbtest_fence never = make_fence_on(other, VMBTEST_NEVER, 0, 0);

	expect(never.id == 0, "a fence that never signals has no id to signal it by");
	close(other);
	expect(ready(pending.descriptor, POLLIN, 1000) && status(pending.descriptor) == -ECANCELED,
	       "a pending fence ends with -ECANCELED when its maker's file is closed");
	int64_t began = now();
	bool came = ready(never.descriptor, POLLIN, 12000);
	double seconds = (now() - began) / 1e9;
	expect(!came && status(never.descriptor) == 0 && seconds >= 12,
	       "one that never signals is pending after %.1f s, though its maker's file is closed", seconds);
}

static void buffer_fence_cases(void)
{
	uint32_t handle = make_dumb();
	int buffer = export_buffer(handle), seen, second_seen;
	struct vmbtest_fence fence = make_fence_on(card, VMBTEST_PENDING, handle, VMBTEST_WRITE), second;

	seen = export_sync_file(buffer, DMA_BUF_SYNC_READ);
	expect(!ready(seen, POLLIN, 50) && !ready(buffer, POLLIN, 0),
	       "a write fence on a buffer is in what EXPORT_SYNC_FILE gives a reader, and the buffer is busy");
	second = make_fence_on(card, VMBTEST_PENDING, handle, VMBTEST_WRITE);
	second_seen = export_sync_file(buffer, DMA_BUF_SYNC_READ);
	must(end_fence(card, fence.id, -EIO), "VMBTEST_SIGNAL");
	expect(ready(seen, POLLIN, 1000) && status(seen) == -EIO, "its error comes out of the exported sync_file");
	expect(!ready(second_seen, POLLIN, 50) && !ready(buffer, POLLIN, 0), "a second fence keeps the buffer busy");
	must(end_fence(card, second.id, 0), "VMBTEST_SIGNAL");
	expect(ready(second_seen, POLLIN, 1000) && ready(buffer, POLLIN | POLLOUT, 1000), "both done, the buffer is idle");

	fence = make_fence_on(card, VMBTEST_PENDING, handle, VMBTEST_READ);
	expect(ready(export_sync_file(buffer, DMA_BUF_SYNC_READ), POLLIN, 0), "a read fence holds up no reader");
	expect(!ready(export_sync_file(buffer, DMA_BUF_SYNC_WRITE), POLLIN, 50), "a read fence holds up writers");
	must(end_fence(card, fence.id, 0), "VMBTEST_SIGNAL");
	close(buffer);
}

static void timeline_cases(void)
{
	uint32_t timeline = make_syncobj();
	int available = event_at(timeline, 5, DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE), event = event_at(timeline, 5, 0);
	struct vmbtest_fence fence = make_fence(VMBTEST_PENDING);

	expect(!ready(available, POLLIN, 50), "no EVENTFD event before the point has a fence");
	expect(put_on_timeline(timeline, 5, fence.descriptor) == 0, "a sync_file is transferred to point 5");
	expect(ready(available, POLLIN, 1000), "EVENTFD with WAIT_AVAILABLE tells that the point has a fence");
	expect(wait_for_point(timeline, 5, DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE, 0) == 0, "so does a wait");
	expect(fails(wait_for_point(timeline, 5, 0, 100), ETIME), "a wait for the pending point times out");
	int back = take_from_timeline(timeline, 5);
	expect(!ready(back, POLLIN, 0) && !ready(event, POLLIN, 0), "the point, exported as a sync_file, is pending; no event");
	must(end_fence(render, fence.id, 0), "VMBTEST_SIGNAL");
	expect(wait_for_point(timeline, 5, 0, 1000) == 0, "the wait ends when the fence has signalled");
	expect(ready(back, POLLIN, 1000) && status(back) == 1, "the exported sync_file is ready");
	expect(ready(event, POLLIN, 1000), "EVENTFD tells it");
	expect(latest_point(render, timeline) == 5, "the time line stands at 5");

	struct drm_syncobj_handle handle = { .handle = timeline, .fd = -1 };
	must(ioctl(render, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &handle), "SYNCOBJ_HANDLE_TO_FD");
	must(ioctl(card, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &handle), "SYNCOBJ_FD_TO_HANDLE");
	expect(latest_point(card, handle.handle) == 5, "another open file sees it at 5, too");

	fence = make_fence(VMBTEST_FAILED);
	must(put_on_timeline(timeline, 6, fence.descriptor), "SYNCOBJ_TRANSFER");
	expect(wait_for_point(timeline, 6, 0, 1000) == 0, "a point whose fence failed is reached all the same");
	/* Not what one would like, but what a user of time lines must know. */
	expect(status(take_from_timeline(timeline, 6)) == 1, "exported as a sync_file it tells of success");
	fence = make_fence(VMBTEST_PENDING);
	must(put_on_timeline(timeline, 7, fence.descriptor), "SYNCOBJ_TRANSFER");
	back = take_from_timeline(timeline, 7);
	must(end_fence(render, fence.id, -EIO), "VMBTEST_SIGNAL");
	expect(ready(back, POLLIN, 1000) && status(back) == 1,
	       "a point exported while pending is ready when its fence failed, and tells of success");
}

int main(int count, char **arguments)
{
	if (count != 3) {
		fprintf(stderr, "usage: vmbtest-proof CARD-NODE RENDER-NODE\n");
		return 2;
	}
	card = must(open(arguments[1], O_RDWR | O_CLOEXEC), arguments[1]);
	render = must(open(arguments[2], O_RDWR | O_CLOEXEC), arguments[2]);
	device_cases();
	own_buffer_cases();
	import_cases("udmabuf", make_udmabuf());
	import_cases("heap buffer", make_heap_buffer());
	fence_cases();
	buffer_fence_cases();
	timeline_cases();
	closing_cases(arguments[2]);
	printf("cases: %d, failed: %d\n", cases, failures);
	return failures != 0;
}
