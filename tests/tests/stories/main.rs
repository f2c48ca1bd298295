//! End-to-end stories: the real daemon, its real files, its real wire. Each names the rules that it tells of. The rules one
//! by one are the engine's own tests; here it is seen that they hold through everything that lies round the engine.

mod alloc;
mod bad_input;
mod check_in;
mod cli;
mod clock;
mod fifty_seats;
mod folder;
mod leases;
mod levels;
mod load;
mod media_and_site;
mod queue;
mod reload;
mod restart;
mod service;
mod standby;
mod startup;
mod stations;
mod usage;
mod witness;
