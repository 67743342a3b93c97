#pragma once

/// Whether allocations can be counted: not under the sanitizers, which have their own allocator.
_Bool allocation_counter_available(void);

/// Starts counting the heap allocations of the calling thread, anybody's: Swift's and C's.
void allocation_counter_start(void);

/// Ends counting; how many there were since the start.
unsigned long allocation_counter_stop(void);
