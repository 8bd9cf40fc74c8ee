//! The edge over real sockets, between an engine that follows a script and a store in memory.

mod fake_engine;
mod hostile_shapes;
mod http_client;
mod memory_store;
mod shop;

mod bad_requests_are_refused;
mod every_outcome_has_its_answer;
mod hostile_shapes_are_refused;
mod orders_are_read_from_engine_then_store;
mod overload_holds_back_new_orders_only;
mod products_are_described_and_changed;
mod rate_limits_hold_back_who_asks_too_often;
mod slow_and_broken_connections_end;
mod sold_out_is_known_without_asking;
mod start_stop_and_lost_engines;
