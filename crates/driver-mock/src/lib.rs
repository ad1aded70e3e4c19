//! A scripted container driver in memory that behaves like the real ones: profiles, delays, faults and a virtual clock.
