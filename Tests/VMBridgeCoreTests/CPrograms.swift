/// The C sources that exercise the header's helpers; they follow an include of it and of stdio.h.
enum CPrograms {
    /// Writes the records of the document's worked example to its output.
    static let writeExample = """
        int main(void) {
            unsigned char room[1024];
            struct vmb_writer out;
            struct vmb_buffer_create buffer;
            struct vmb_surface_create surface;
            struct vmb_frame frame;
            struct vmb_rectangle damage;
            vmb_writer_init(&out, room, sizeof room);
            if (vmb_put_hello(&out, "example") < 0) return 1;
            vmb_record_init(&buffer, sizeof buffer, VMB_RECORD_BUFFER_CREATE, 1);
            buffer.width = 640;
            buffer.height = 480;
            buffer.fourcc = VMB_FOURCC_XRGB8888;
            buffer.modifier = VMB_MODIFIER_LINEAR;
            buffer.memory = VMB_MEMORY_MEMFD;
            buffer.plane_count = 1;
            buffer.planes[0].stride = 2560;
            vmb_begin(&out, &buffer, sizeof buffer);
            if (vmb_add_descriptor(&out, 0) != 0) return 2;
            if (vmb_end(&out) < 0) return 3;
            vmb_record_init(&surface, sizeof surface, VMB_RECORD_SURFACE_CREATE, 7);
            surface.role = VMB_ROLE_TOPLEVEL;
            surface.content = VMB_CONTENT_GRAPHICS;
            vmb_begin(&out, &surface, sizeof surface);
            vmb_add_text(&out, VMB_FIELD_TITLE, "Hello");
            vmb_add_text(&out, VMB_FIELD_APP_ID, "org.example.hello");
            if (vmb_end(&out) < 0) return 4;
            vmb_record_init(&frame, sizeof frame, VMB_RECORD_FRAME, 7);
            frame.buffer = 1;
            frame.sequence = 1;
            frame.acquire = VMB_ACQUIRE_NONE;
            memset(&damage, 0, sizeof damage);
            damage.width = 320;
            damage.height = 240;
            vmb_begin(&out, &frame, sizeof frame);
            vmb_add_field(&out, VMB_FIELD_DAMAGE, 0, &damage, sizeof damage);
            if (vmb_end(&out) < 0) return 5;
            return fwrite(out.bytes, 1, out.length, stdout) == out.length ? 0 : 6;
        }
        """

    /// Reads a datagram from a file and says what is in it; exits with 3 when it is broken.
    static let readExample = """
        static unsigned char datagram[VMB_MAXIMUM_DATAGRAM];
        int main(int count, char **arguments) {
            struct vmb_reader in;
            struct vmb_record record;
            FILE *file = count > 1 ? fopen(arguments[1], "rb") : NULL;
            size_t bytes;
            char text[128];
            int more;
            if (file == NULL) return 1;
            bytes = fread(datagram, 1, sizeof datagram, file);
            fclose(file);
            vmb_reader_init(&in, datagram, bytes);
            while ((more = vmb_next(&in, &record)) > 0) {
                if (record.type == VMB_RECORD_WELCOME) {
                    struct vmb_welcome welcome;
                    struct vmb_field_view formats;
                    struct vmb_format first;
                    if (vmb_read(&record, &welcome, sizeof welcome) < 0) return 3;
                    vmb_read_text(&record, sizeof welcome, VMB_FIELD_VM_NAME, text, sizeof text);
                    if (!vmb_find_field(&record, sizeof welcome, VMB_FIELD_FORMATS, &formats)) return 3;
                    memcpy(&first, formats.payload, sizeof first);
                    printf("welcome %u generation %llu bytes %llu vm %s formats %zu first %x %u\\n",
                        welcome.version, (unsigned long long)record.object,
                        (unsigned long long)welcome.bytes, text, formats.length / sizeof first,
                        first.fourcc, first.memory);
                } else if (record.type == VMB_RECORD_RELEASED) {
                    struct vmb_released released;
                    if (vmb_read(&record, &released, sizeof released) < 0) return 3;
                    printf("released %llu surface %llu sequence %llu outcome %u\\n",
                        (unsigned long long)record.object, (unsigned long long)released.surface,
                        (unsigned long long)released.sequence, released.outcome);
                } else if (record.type == VMB_RECORD_REFUSED) {
                    struct vmb_refused refused;
                    if (vmb_read(&record, &refused, sizeof refused) < 0) return 3;
                    vmb_read_text(&record, sizeof refused, VMB_FIELD_SENTENCE, text, sizeof text);
                    printf("refused %x reason %u %s\\n", refused.type, refused.reason, text);
                } else if (record.type == VMB_RECORD_INPUT) {
                    struct vmb_input input;
                    if (vmb_read(&record, &input, sizeof input) < 0) return 3;
                    printf("input surface %llu kind %u at %d %d time %llu\\n",
                        (unsigned long long)record.object, input.kind, (int)(int32_t)input.a,
                        (int)(int32_t)input.b, (unsigned long long)input.time);
                }
            }
            if (more < 0) return 3;
            printf("end\\n");
            return 0;
        }
        """

    /// Sends descriptors over a socket pair and provokes each error of the helpers.
    static let selfTest = """
        #define CHECK(condition) \\
            do { if (!(condition)) { printf("line %d: %s\\n", __LINE__, #condition); return 1; } } while (0)
        static unsigned char room[VMB_MAXIMUM_DATAGRAM], datagram[VMB_MAXIMUM_DATAGRAM];
        int main(void) {
            struct vmb_writer out;
            struct vmb_reader in;
            struct vmb_record record;
            struct vmb_header bare;
            struct vmb_field_view view;
            int ends[2], ways[2], index;
            size_t position, whole;
            char byte = 'x', text[8];
            CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0 && pipe(ways) == 0);
            vmb_writer_init(&out, room, sizeof room);
            CHECK(vmb_send(ends[0], &out, 0) == 0);

            /* Two records, descriptors in order: one for the first, two for the second. */
            vmb_record_init(&bare, sizeof bare, VMB_RECORD_BUFFER_CREATE, 5);
            vmb_begin(&out, &bare, sizeof bare);
            CHECK(vmb_add_descriptor(&out, ways[0]) == 0);
            CHECK(vmb_end(&out) == 0);
            bare.object = 6;
            vmb_begin(&out, &bare, sizeof bare);
            CHECK(vmb_add_descriptor(&out, ways[0]) == 0);
            CHECK(vmb_add_descriptor(&out, ways[1]) == 1);
            vmb_add_field(&out, 0x7001, VMB_FIELD_REQUIRED, "abc", 3);
            CHECK(vmb_end(&out) == 0);
            whole = out.length;
            CHECK(whole == 16 + 32 && out.descriptor_count == 3);

            /* A record that cannot be is left out and those before it stay. */
            vmb_begin(&out, &bare, sizeof bare);
            for (index = 0; index < VMB_MAXIMUM_DESCRIPTORS - 2; index++) vmb_add_descriptor(&out, ways[0]);
            errno = 0;
            CHECK(vmb_end(&out) == -1 && errno == ETOOMANYREFS);
            vmb_begin(&out, &bare, sizeof bare);
            for (index = 0; index < VMB_MAXIMUM_FIELDS + 1; index++) vmb_add_field(&out, (uint16_t)(0x7000 + index), 0, NULL, 0);
            CHECK(vmb_end(&out) == -1 && errno == EMSGSIZE);
            vmb_begin(&out, &bare, sizeof bare);
            vmb_add_field(&out, 0x7001, 0, NULL, sizeof room);
            CHECK(vmb_end(&out) == -1 && errno == EMSGSIZE);
            vmb_begin(&out, &bare, 12);
            CHECK(vmb_end(&out) == -1 && errno == EINVAL);
            CHECK(out.length == whole && out.descriptor_count == 3);

            CHECK(vmb_send(ends[0], &out, MSG_DONTWAIT) == 0);
            CHECK(out.length == 0 && out.descriptor_count == 0);
            CHECK(vmb_receive(ends[1], &in, datagram, sizeof datagram, 0) == 1);
            CHECK(in.descriptor_count == 3);
            CHECK(vmb_next(&in, &record) == 1 && record.object == 5 && record.descriptor_count == 1);
            CHECK(vmb_next(&in, &record) == 1 && record.object == 6 && record.descriptor_count == 2);
            CHECK(write(record.descriptors[1], &byte, 1) == 1);
            byte = 0;
            CHECK(read(record.descriptors[0], &byte, 1) == 1 && byte == 'x');
            position = sizeof bare;
            CHECK(vmb_next_field(&record, &position, &view) == 1);
            CHECK(view.tag == 0x7001 && view.flags == VMB_FIELD_REQUIRED && view.length == 3);
            CHECK(memcmp(view.payload, "abc", 3) == 0);
            CHECK(vmb_next_field(&record, &position, &view) == 0 && position == record.length);
            vmb_read_text(&record, sizeof bare, 0x7001, text, 3);
            CHECK(strcmp(text, "ab") == 0);
            vmb_read_text(&record, sizeof bare, 0x7002, text, sizeof text);
            CHECK(text[0] == 0);
            CHECK(vmb_next(&in, &record) == 0);
            index = in.descriptors[2];
            vmb_reader_close(&in);
            CHECK(close(index) == -1 && errno == EBADF);

            /* A datagram that does not fit is told and its descriptors are closed; so is the end. */
            vmb_begin(&out, &bare, sizeof bare);
            vmb_add_descriptor(&out, ways[0]);
            vmb_end(&out);
            CHECK(vmb_send(ends[0], &out, 0) == 0);
            CHECK(vmb_receive(ends[1], &in, datagram, 8, 0) == -1 && errno == EMSGSIZE);
            CHECK(in.descriptor_count == 0);
            CHECK(vmb_receive(ends[1], &in, datagram, sizeof datagram, MSG_DONTWAIT) == -1 && errno == EAGAIN);
            /* A full socket keeps the records. */
            do CHECK(vmb_put(&out, &bare, sizeof bare) == 0); while (vmb_send(ends[0], &out, MSG_DONTWAIT) == 0);
            CHECK(errno == EAGAIN && out.length == 16);
            close(ends[0]);
            while (vmb_receive(ends[1], &in, datagram, sizeof datagram, 0) == 1) vmb_reader_close(&in);
            CHECK(vmb_receive(ends[1], &in, datagram, sizeof datagram, 0) == 0);
            CHECK(vmb_send(ends[1], &out, 0) == -1 && errno == EPIPE);

            /* The last words of an end that hung up with something unread. */
            CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
            CHECK(vmb_send(ends[1], &out, 0) == 0);
            CHECK(vmb_put(&out, &bare, sizeof bare) == 0 && vmb_send(ends[0], &out, 0) == 0);
            close(ends[0]);
            CHECK(vmb_receive(ends[1], &in, datagram, sizeof datagram, 0) == 1 && in.length == 16);
            CHECK(vmb_receive(ends[1], &in, datagram, sizeof datagram, 0) == 0);

            /* A field that claims more than its record holds. */
            memset(datagram, 0, 32);
            datagram[4] = 32;
            datagram[20] = 9;
            vmb_reader_init(&in, datagram, 32);
            CHECK(vmb_next(&in, &record) == 1);
            position = 16;
            CHECK(vmb_next_field(&record, &position, &view) == -1 && errno == EBADMSG);
            CHECK(vmb_connect("/nowhere/at/all") == -1 && errno == ENOENT);
            printf("all well\\n");
            return 0;
        }
        """
}
