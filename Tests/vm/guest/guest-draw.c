// SPDX-License-Identifier: MIT
/*
 * guest-draw: what runs in the small guest. Draws numbered frames through KMS, sets a cursor, follows modes,
 * tells input events. Every line that it prints is for a test to read; README.md beside it lists them.
 *   guest-draw draw|two|cursor|resize [frames=N] [first=N] [interval=MS] [seed=N] [buffers=N] [wait=SECONDS] [still=1]
 *   guest-draw input
 *   guest-draw boots     which boot since the machine was switched on, from 1
 */
#include <dirent.h>
#include <drm/drm.h>
#include <drm/drm_fourcc.h>
#include <drm/drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SCREENS = 16, BUFFERS = 8, MODES = 128, TABLE = 4096, WIDEST = 2 * TABLE, CURSOR = 64 };

struct buffer {
	uint32_t handle, framebuffer, pitch;
	uint64_t size;
	uint32_t *pixels;
};

struct screen {
	uint32_t connector, crtc, seed;
	struct drm_mode_modeinfo mode;
	struct buffer buffers[BUFFERS];
	/* One line of the pattern and two more of the same: a row may begin anywhere in the first. */
	uint32_t line[TABLE + WIDEST];
	bool lit;
};

static int card;
static struct screen screens[SCREENS];
static struct drm_mode_modeinfo modes[MODES];
static int buffer_count = 3;

static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static void fail(const char *what)
{
	say("guest: FAILED: %s: %s", what, strerror(errno));
	exit(1);
}

static void must(unsigned long request, void *argument, const char *what)
{
	int result;

	do
		result = ioctl(card, request, argument);
	while (result < 0 && (errno == EINTR || errno == EAGAIN));
	if (result < 0)
		fail(what);
}

static int64_t milliseconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static void sleep_until(int64_t when)
{
	int64_t left = when - milliseconds();

	if (left > 0)
		usleep(left * 1000);
}

/*
 * The pattern: pixel x of row y of frame f is entry (x + 7y + 13f) mod 4096 of the seed's line, so that one
 * pixel whose place is known tells its frame (mod 4096, 13 being odd), and rows are copies.
 */
static uint32_t entry(uint32_t i, uint32_t seed)
{
	uint32_t red = i >> 4, green = (i & 15) * 17, blue = (seed * 67 + (i >> 3) * 5) & 255;

	/* The unused byte is set: weston 10 keeps it in its screenshots, as alpha. */
	return 0xff000000u | red << 16 | green << 8 | blue;
}

static void make_line(struct screen *screen)
{
	for (uint32_t i = 0; i < TABLE + WIDEST; i++)
		screen->line[i] = entry(i % TABLE, screen->seed);
}

static void draw(struct screen *screen, uint32_t frame)
{
	struct buffer *buffer = &screen->buffers[frame % buffer_count];

	for (uint32_t y = 0; y < screen->mode.vdisplay; y++)
		memcpy((char *)buffer->pixels + (size_t)y * buffer->pitch,
		       screen->line + (7 * y + 13 * frame) % TABLE, screen->mode.hdisplay * 4);
}

/* Screens */

static struct buffer make_buffer(uint32_t width, uint32_t height, uint32_t format)
{
	struct drm_mode_create_dumb dumb = { .width = width, .height = height, .bpp = 32 };
	struct drm_mode_map_dumb map = { 0 };
	struct drm_mode_fb_cmd2 add = { .width = width, .height = height, .pixel_format = format };
	struct buffer buffer;

	must(DRM_IOCTL_MODE_CREATE_DUMB, &dumb, "dumb buffer");
	map.handle = dumb.handle;
	must(DRM_IOCTL_MODE_MAP_DUMB, &map, "map of a dumb buffer");
	add.handles[0] = dumb.handle;
	add.pitches[0] = dumb.pitch;
	must(DRM_IOCTL_MODE_ADDFB2, &add, "framebuffer");
	buffer = (struct buffer){ dumb.handle, add.fb_id, dumb.pitch, dumb.size, NULL };
	buffer.pixels = mmap(NULL, dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, map.offset);
	if (buffer.pixels == MAP_FAILED)
		fail("mmap of a dumb buffer");
	return buffer;
}

static void free_buffer(struct buffer *buffer)
{
	struct drm_mode_destroy_dumb destroy = { .handle = buffer->handle };

	munmap(buffer->pixels, buffer->size);
	must(DRM_IOCTL_MODE_RMFB, &buffer->framebuffer, "removal of a framebuffer");
	must(DRM_IOCTL_MODE_DESTROY_DUMB, &destroy, "end of a dumb buffer");
}

static int rank(const struct drm_mode_modeinfo *mode)
{
	return (mode->type & DRM_MODE_TYPE_USERDEF ? 2 : 0) + (mode->type & DRM_MODE_TYPE_PREFERRED ? 1 : 0);
}

/* The preferred mode of a connector, asked for anew; false while nothing is connected. */
static bool find_mode(uint32_t connector, struct drm_mode_modeinfo *mode, bool tell)
{
	struct drm_mode_get_connector get = { .connector_id = connector };
	unsigned int count, best = 0;

	/* Without room for modes the kernel asks the device. */
	must(DRM_IOCTL_MODE_GETCONNECTOR, &get, "connector");
	count = get.count_modes < MODES ? get.count_modes : MODES;
	if (get.connection != 1 || count == 0)
		return false;
	get = (struct drm_mode_get_connector){ .connector_id = connector, .modes_ptr = (uintptr_t)modes,
					       .count_modes = count };
	must(DRM_IOCTL_MODE_GETCONNECTOR, &get, "modes of a connector");
	if (get.count_modes < count)
		count = get.count_modes;
	if (count == 0)
		return false;
	/* One of the kernel's command line stands above the device's. */
	for (unsigned int i = count; i-- > 0;)
		if (rank(&modes[i]) >= rank(&modes[best]))
			best = i;
	for (unsigned int i = 0; tell && i < count; i++)
		say("offers %ux%u%s", modes[i].hdisplay, modes[i].vdisplay, i == best ? " preferred" : "");
	*mode = modes[best];
	return mode->hdisplay <= WIDEST;
}

static int find_screens(void)
{
	uint32_t crtcs[SCREENS], connectors[SCREENS];
	struct drm_mode_card_res resources = { .count_crtcs = SCREENS, .count_connectors = SCREENS,
					       .crtc_id_ptr = (uintptr_t)crtcs,
					       .connector_id_ptr = (uintptr_t)connectors };
	int count;

	must(DRM_IOCTL_MODE_GETRESOURCES, &resources, "resources");
	count = resources.count_crtcs < resources.count_connectors ? resources.count_crtcs
								   : resources.count_connectors;
	if (count > SCREENS)
		count = SCREENS;
	for (int i = 0; i < count; i++) {
		screens[i].crtc = crtcs[i];
		screens[i].connector = connectors[i];
	}
	return count;
}

static void light(struct screen *screen, uint32_t frame)
{
	struct drm_mode_crtc crtc = { .crtc_id = screen->crtc, .count_connectors = 1,
				      .set_connectors_ptr = (uintptr_t)&screen->connector,
				      .mode = screen->mode, .mode_valid = 1 };

	make_line(screen);
	for (int i = 0; i < buffer_count; i++)
		screen->buffers[i] = make_buffer(screen->mode.hdisplay, screen->mode.vdisplay,
						 DRM_FORMAT_XRGB8888);
	draw(screen, frame);
	crtc.fb_id = screen->buffers[frame % buffer_count].framebuffer;
	must(DRM_IOCTL_MODE_SETCRTC, &crtc, "mode");
	screen->lit = true;
	say("mode %ux%u screen %d seed %u", screen->mode.hdisplay, screen->mode.vdisplay,
	    (int)(screen - screens), screen->seed);
}

/* Asks for the flip; landed() takes the event. */
static void flip(struct screen *screen, uint32_t frame)
{
	struct drm_mode_crtc_page_flip flip = { .crtc_id = screen->crtc, .flags = DRM_MODE_PAGE_FLIP_EVENT,
						.fb_id = screen->buffers[frame % buffer_count].framebuffer };

	must(DRM_IOCTL_MODE_PAGE_FLIP, &flip, "page flip");
}

static void landed(void)
{
	struct pollfd wait = { .fd = card, .events = POLLIN };
	char event[sizeof(struct drm_event_vblank)];

	if (poll(&wait, 1, 30000) != 1 || read(card, event, sizeof(event)) <= 0)
		fail("no page flip in 30 s");
}

static void open_card(int seconds)
{
	for (int i = 0; i < seconds * 10; i++) {
		card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
		if (card >= 0)
			return;
		usleep(100000);
	}
	fail("/dev/dri/card0");
}

/* NAME=NUMBER among the words; the last one counts. */
static int option(char *const *words, const char *name, int usual)
{
	size_t length = strlen(name);
	int value = usual;

	for (; *words; words++)
		if (!strncmp(*words, name, length) && (*words)[length] == '=')
			value = atoi(*words + length + 1);
	return value;
}

/* Modes */

static void wait_for_screens(int count, int seconds)
{
	int64_t end = milliseconds() + seconds * 1000LL;
	int there = find_screens();

	if (there < count)
		fail("there are not enough screens");
	for (int i = 0; i < count; i++)
		while (!find_mode(screens[i].connector, &screens[i].mode, false)) {
			if (milliseconds() > end)
				fail("a screen is not connected");
			usleep(100000);
		}
	for (int i = 0; i < count; i++)
		find_mode(screens[i].connector, &screens[i].mode, true);
}

static void draw_frames(char **words, int count, int frames)
{
	int first = option(words, "first", 1);
	int interval = option(words, "interval", 33), seed = option(words, "seed", 1);
	/* Each buffer is drawn once, and flipped to ever after: for those who measure what a flip costs. */
	int undrawn = option(words, "still", 0) ? buffer_count : frames;
	int64_t begun, next;

	wait_for_screens(count, option(words, "wait", 60));
	for (int i = 0; i < count; i++) {
		screens[i].seed = seed + i;
		light(&screens[i], first);
	}
	begun = next = milliseconds();
	say("drew %d", first);
	for (int frame = first + 1; frame < first + frames; frame++) {
		sleep_until(next += interval);
		if (next < milliseconds())
			next = milliseconds();
		for (int i = 0; i < count; i++) {
			if (frame < first + undrawn)
				draw(&screens[i], frame);
			flip(&screens[i], frame);
		}
		for (int i = 0; i < count; i++)
			landed();
		say("drew %d", frame);
	}
	say("done %d frames in %d ms", frames, (int)(milliseconds() - begun));
}

/* Sees a new preferred mode, as a desktop would, and draws in it; frame numbers go on. */
static void follow_modes(char **words)
{
	struct screen *screen = screens;
	struct drm_mode_modeinfo mode;
	int interval = option(words, "interval", 33), frames = option(words, "frames", 0);
	uint32_t frame = option(words, "first", 1);

	wait_for_screens(1, option(words, "wait", 60));
	screen->seed = option(words, "seed", 1);
	light(screen, frame);
	say("drew %u", frame);
	for (int64_t next = milliseconds(), look = next; frames == 0 || frame < (uint32_t)frames;) {
		sleep_until(next += interval);
		if (next < milliseconds())
			next = milliseconds();
		frame++;
		if (look <= milliseconds()) {
			look = milliseconds() + 250;
			if (find_mode(screen->connector, &mode, false) &&
			    (mode.hdisplay != screen->mode.hdisplay || mode.vdisplay != screen->mode.vdisplay)) {
				struct buffer former[BUFFERS];

				memcpy(former, screen->buffers, sizeof(former));
				screen->mode = mode;
				light(screen, frame);
				for (int i = 0; i < buffer_count; i++)
					free_buffer(&former[i]);
				say("drew %u", frame);
				continue;
			}
		}
		draw(screen, frame);
		flip(screen, frame);
		landed();
		say("drew %u", frame);
	}
}

/* A ring with a corner, so that every turn and flip of it is another picture; hot spot 5, 7. */
static uint32_t cursor_pixel(int x, int y)
{
	int distance = (x - 31) * (x - 31) + (y - 31) * (y - 31);

	if (x < 16 && y < 8)
		return 0xff2040ff;
	return distance < 900 && distance > 500 ? 0xffff8000u + x : 0;
}

static void show_cursor(char **words)
{
	struct buffer image;
	struct drm_mode_cursor2 cursor = { .flags = DRM_MODE_CURSOR_BO, .width = CURSOR, .height = CURSOR,
					   .hot_x = 5, .hot_y = 7 };
	struct drm_mode_cursor move = { .flags = DRM_MODE_CURSOR_MOVE };
	int steps = option(words, "steps", 20), interval = option(words, "pause", 100);

	draw_frames(words, 1, 1);
	image = make_buffer(CURSOR, CURSOR, DRM_FORMAT_ARGB8888);
	for (int y = 0; y < CURSOR; y++)
		for (int x = 0; x < CURSOR; x++)
			image.pixels[y * (image.pitch / 4) + x] = cursor_pixel(x, y);
	cursor.crtc_id = move.crtc_id = screens[0].crtc;
	cursor.handle = image.handle;
	must(DRM_IOCTL_MODE_CURSOR2, &cursor, "cursor");
	say("cursor set %dx%d hot %d %d", CURSOR, CURSOR, cursor.hot_x, cursor.hot_y);
	for (int step = 1; step <= steps; step++) {
		usleep(interval * 1000);
		move.x = 10 * step;
		move.y = 5 * step;
		must(DRM_IOCTL_MODE_CURSOR, &move, "move of the cursor");
		say("cursor at %d %d", move.x, move.y);
	}
	say("cursor done");
	usleep(option(words, "hide", 5) * 1000000);
	cursor.handle = 0;
	must(DRM_IOCTL_MODE_CURSOR2, &cursor, "end of the cursor");
	say("cursor hidden");
}

static void tell_input(void)
{
	struct pollfd devices[32];
	char name[128], path[300];
	int count = 0;

	for (int i = 0; i < 32; i++) {
		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		devices[count] = (struct pollfd){ .fd = open(path, O_RDONLY | O_CLOEXEC), .events = POLLIN };
		if (devices[count].fd < 0)
			continue;
		memset(name, 0, sizeof(name));
		ioctl(devices[count].fd, EVIOCGNAME(sizeof(name) - 1), name);
		say("device %d %s", count, name);
		count++;
	}
	say("input: ready");
	while (poll(devices, count, -1) > 0)
		for (int i = 0; i < count; i++) {
			struct input_event event;

			if (!(devices[i].revents & POLLIN) || read(devices[i].fd, &event, sizeof(event)) <= 0)
				continue;
			switch (event.type) {
			case EV_KEY:
				say("event %d key %d %d", i, event.code, event.value);
				break;
			case EV_REL:
				say("event %d rel %d %d", i, event.code, event.value);
				break;
			case EV_ABS:
				say("event %d abs %d %d", i, event.code, event.value);
				break;
			case EV_LED:
				say("event %d led %d %d", i, event.code, event.value);
				break;
			}
		}
}

/* A byte of the clock's memory that nobody uses is kept by a reboot and lost with the machine. */
static void count_boot(void)
{
	const unsigned char place = 0x6a;
	unsigned char values[2] = { 0, 0 };
	int ports = open("/dev/port", O_RDWR | O_CLOEXEC);

	if (ports < 0)
		fail("/dev/port");
	for (int i = 0; i < 2; i++) {
		if (pwrite(ports, &place, 1, 0x70) != 1)
			fail("port 0x70");
		if (i == 0 && pread(ports, &values[0], 1, 0x71) != 1)
			fail("port 0x71");
		values[1] = values[0] + 1;
		if (i == 1 && pwrite(ports, &values[1], 1, 0x71) != 1)
			fail("port 0x71");
	}
	printf("%d\n", values[1]);
}

int main(int count, char **words)
{
	const char *mode = count > 1 ? words[1] : "";

	if (!strcmp(mode, "boots")) {
		count_boot();
		return 0;
	}
	if (!strcmp(mode, "input")) {
		tell_input();
		return 1;
	}
	open_card(option(words, "wait", 60));
	buffer_count = option(words, "buffers", buffer_count);
	if (buffer_count < 1 || buffer_count > BUFFERS) {
		say("guest: FAILED: 1 to %d buffers", BUFFERS);
		return 64;
	}
	if (!strcmp(mode, "draw"))
		draw_frames(words + 1, 1, option(words, "frames", 200));
	else if (!strcmp(mode, "two"))
		draw_frames(words + 1, 2, option(words, "frames", 200));
	else if (!strcmp(mode, "cursor"))
		show_cursor(words + 1);
	else if (!strcmp(mode, "resize"))
		follow_modes(words + 1);
	else {
		say("guest: FAILED: no mode '%s'", mode);
		return 64;
	}
	/* The picture stays as long as the card is open. */
	say("guest: holds");
	for (;;)
		pause();
}
