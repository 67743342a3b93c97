/// What protocol files do not say but the bindings need: chosen here, once, for all protocols.
enum Choices {
    /// Interfaces whose events arrive for every frame or with every movement: they call methods of one
    /// `HotEventTarget`, with no allocation. All others deliver an event value to a closure.
    static let hotInterfaces: Set<String> = [
        "wl_surface", "wl_buffer", "wl_callback", "wp_presentation_feedback",
        "zwp_linux_buffer_release_v1", "xdg_surface", "xdg_toplevel",
        "zwp_linux_buffer_params_v1", "wl_pointer", "wl_keyboard", "wl_touch",
    ]

    /// Events that end the life of their object (`interface.event`). Newer files mark them with a
    /// `type`, older ones tell it in prose only, so the mark is not relied on.
    static let lastEvents: Set<String> = [
        "wl_callback.done",
        "wp_presentation_feedback.presented", "wp_presentation_feedback.discarded",
        "zwp_linux_buffer_release_v1.fenced_release",
        "zwp_linux_buffer_release_v1.immediate_release",
    ]

    /// Element types of array arguments (`interface.event.argument`); others are UInt32.
    static let arrayElements: [String: String] = [
        "zwp_linux_dmabuf_feedback_v1.main_device.device": "UInt8",
        "zwp_linux_dmabuf_feedback_v1.tranche_target_device.device": "UInt8",
        "zwp_linux_dmabuf_feedback_v1.tranche_formats.indices": "UInt16",
    ]

    /// Enumerations of arguments that only newer files name (`interface.message.argument`): given
    /// here so that our signatures are the same with every version of a file.
    static let enumerations: [String: String] = [
        "xdg_positioner.set_constraint_adjustment.constraint_adjustment": "constraint_adjustment"
    ]
}
