%% Prints what Erlang/OTP does in each process scenario of ../test_process_facts.py: one line "name: [Fact,...]" each.
%% A fact is a term without pids, references or stack traces: processes have the names given by who/2.
-module(process_facts).
-export([main/0]).
-compile([export_all, nowarn_export_all]).

main() ->
    logger:set_primary_config(level, none),
    Cases = [F || {F, 0} <- module_info(exports), lists:prefix("case_", atom_to_list(F))],
    [report(F) || F <- Cases],
    halt(0).

%% Each case runs in a process of its own and leaves its facts in a public table, ordered by a monotonic counter.
report(Case) ->
    ets:new(facts, [named_table, public, ordered_set]),
    ets:new(names, [named_table, public]),
    Before = processes(),
    {_, Ref} = spawn_monitor(fun() ->
        who(self(), me),
        ?MODULE:Case()
    end),
    receive
        {'DOWN', Ref, process, _, normal} -> ok;
        {'DOWN', Ref, process, _, Why} -> fact({case_failed, reason(Why)}), io:format(standard_error, "~p~n", [Why])
    after 20000 -> fact(case_hangs)
    end,
    "case_" ++ Name = atom_to_list(Case),
    io:format("~s: ~0p~n", [Name, [F || {_, F} <- ets:tab2list(facts)]]),
    [begin R = monitor(process, P), exit(P, kill), receive {'DOWN', R, _, _, _} -> ok end end || P <- processes() -- Before],
    ets:delete(facts),
    ets:delete(names).

fact(Fact) -> ets:insert(facts, {erlang:unique_integer([monotonic]), Fact}).

who(Pid, Name) -> ets:insert(names, {Pid, Name}), Pid.

name(Id) ->
    case ets:lookup(names, Id) of
        [{_, Name}] -> Name;
        [] when is_atom(Id) -> Id;
        [] -> someone
    end.

reason({R, [{_, _, _, _} | _]}) -> {crash, class(R)};
reason({bad_return_value, _}) -> bad_return_value;
reason(R) -> R.

class(T) when is_tuple(T) -> element(1, T);
class(A) -> A.

message({'DOWN', Ref, process, {Name, Node}, R}) when Node =:= node() -> {down, name(Ref), {name, Name}, reason(R)};
message({'DOWN', Ref, process, P, R}) -> {down, name(Ref), name(P), reason(R)};
message({'EXIT', P, R}) -> {exit, name(P), reason(R)};
message(M) -> M.

%% Record the next message, or that none came.
saw() -> receive M -> fact(message(M)) after 5000 -> fact(nothing) end.
quiet() -> receive M -> fact(message(M)) after 30 -> fact(quiet) end.

%% A process that ends when told so; "do" runs a fun inside it.
obedient() ->
    receive
        {exit, R} -> exit(R);
        {do, F} -> F(), obedient();
        {ask, From, F} -> From ! {answer, F()}, obedient();
        crash -> error(boom);
        {'EXIT', P, R} -> fact({trapped, name(P), reason(R)}), obedient();
        return -> ok
    end.
start(Name) -> who(spawn(fun obedient/0), Name).
start_trapping(Name) ->
    P = start(Name),
    ask(P, fun() -> process_flag(trap_exit, true) end),
    P.
ask(P, F) -> P ! {ask, self(), F}, receive {answer, V} -> V end.
%% Wait for the death of P by a monitor that leaves no trace.
gone(P) -> R = monitor(process, P), receive {'DOWN', R, process, P, Why} -> Why end.
dead(Name) -> P = start(Name), P ! return, gone(P), P.
watch(P) -> who(monitor(process, P), ref).
alive(P) -> fact({alive, name(P), is_process_alive(P)}).
caught(F) -> try F() of V -> {value, V} catch _:R -> {raised, call_reason(R)} end.
call_reason({R, {gen_server, call, _}}) -> reason(R);
call_reason(R) -> reason(R).

%% ---------------------------------------------------------------- monitors

case_monitor_dead_pid() -> watch(dead(p)), saw(), quiet().
case_monitor_unregistered_name() -> watch(nobody), saw(), quiet().
case_monitor_twice() ->
    P = start(p),
    who(monitor(process, P), ref1), who(monitor(process, P), ref2),
    P ! return, A = receive M1 -> message(M1) end, B = receive M2 -> message(M2) end,
    [fact(F) || F <- lists:sort([A, B])], quiet().
case_demonitor_flush_removes_queued_down() ->
    P = start(p), R = watch(P), P ! return, gone(P), demonitor(R, [flush]), quiet().
case_demonitor_keeps_queued_down() ->
    P = start(p), R = watch(P), P ! return, gone(P), demonitor(R), saw(), quiet().
case_demonitor_before_death() ->
    P = start(p), R = watch(P), demonitor(R), P ! return, gone(P), quiet().
case_demonitor_one_of_two() ->
    P = start(p), who(monitor(process, P), ref1), R2 = who(monitor(process, P), ref2),
    demonitor(R2), P ! return, saw(), quiet().
case_demonitor_twice() -> P = start(p), R = watch(P), demonitor(R), demonitor(R), fact(done), P ! return, gone(P), quiet().
case_monitor_by_name_reports_name_already_free() ->
    P = start(p), register(server, P), watch(server), P ! {exit, enough},
    saw(), fact({whereis, whereis(server)}).
case_monitor_by_name_follows_the_process() ->
    P = start(p), register(server, P), watch(server), unregister(server), P ! return, saw().
case_messages_then_exit_then_down() ->
    process_flag(trap_exit, true),
    Me = self(), P = start(p), link(P), watch(P),
    P ! {do, fun() -> Me ! first, Me ! last_msg end}, P ! {exit, enough},
    saw(), saw(), saw(), saw(), quiet().
case_monitor_normal_end() -> P = start(p), watch(P), P ! return, saw().
case_monitor_crash() -> P = start(p), watch(P), P ! crash, saw().
case_monitor_self() -> watch(self()), quiet().

%% ---------------------------------------------------------------- links

case_link_dead_trapping() -> P = dead(p), process_flag(trap_exit, true), link(P), saw(), quiet().
case_link_dead_not_trapping() -> P = dead(p), fact(caught(fun() -> link(P) end)).
case_link_is_a_set() ->
    process_flag(trap_exit, true), P = start(p), link(P), link(P), P ! {exit, enough}, saw(), quiet().
case_unlink_once_after_linking_twice() ->
    process_flag(trap_exit, true), P = start(p), link(P), link(P), unlink(P), P ! {exit, enough}, gone(P), quiet().
case_unlink_keeps_queued_exit() ->
    process_flag(trap_exit, true), P = start(p), link(P), P ! {exit, enough}, gone(P), unlink(P), saw(), quiet().
case_unlink_before_death() -> P = start(p), link(P), unlink(P), P ! {exit, enough}, gone(P), fact(survived).
case_normal_end_spares_links() -> P = start(p), Q = start(q), ask(Q, fun() -> link(P) end), P ! return, gone(P), alive(Q).
case_normal_end_reaches_trapper() -> process_flag(trap_exit, true), P = start(p), link(P), P ! return, saw().
case_crash_takes_links_along() ->
    P = start(p), Q = start(q), ask(Q, fun() -> link(P) end), watch(Q), P ! {exit, enough}, saw().
case_link_works_both_ways() ->
    P = start(p), Q = start(q), ask(Q, fun() -> link(P) end), watch(P), Q ! {exit, enough}, saw().
case_chain_of_links() ->
    [A, B, C, D] = [start(N) || N <- [a, b, c, d]],
    ask(B, fun() -> link(A) end), ask(C, fun() -> link(B) end), ask(D, fun() -> link(C) end),
    watch(D), A ! {exit, enough}, saw(), [alive(P) || P <- [A, B, C]].
case_trapper_stops_the_chain() ->
    A = start(a), B = start_trapping(b), C = start(c),
    ask(B, fun() -> link(A) end), ask(C, fun() -> link(B) end),
    A ! {exit, enough}, gone(A), ask(B, fun() -> ok end), alive(B), alive(C).
case_ring_of_links() ->
    [A, B, C] = [start(N) || N <- [a, b, c]],
    ask(A, fun() -> link(B) end), ask(B, fun() -> link(C) end), ask(C, fun() -> link(A) end),
    B ! {exit, enough}, [fact({down, name(P), gone_or_noproc(P, enough)}) || P <- [A, B, C]].
gone_or_noproc(P, Expected) -> case gone(P) of noproc -> Expected; R -> R end.
case_link_self() -> link(self()), fact(survived).

%% ---------------------------------------------------------------- exit signals

case_exit_normal_ignored() -> P = start(p), exit(P, normal), ask(P, fun() -> ok end), alive(P).
case_exit_normal_reaches_trapper() -> P = start_trapping(p), exit(P, normal), ask(P, fun() -> ok end), alive(P).
case_exit_self_normal() -> P = start(p), watch(P), P ! {do, fun() -> exit(self(), normal) end}, saw().
case_exit_shutdown() -> P = start(p), watch(P), exit(P, shutdown), saw().
case_exit_shutdown_reaches_trapper() -> P = start_trapping(p), exit(P, shutdown), ask(P, fun() -> ok end), alive(P).
case_exit_tuple_reason() -> P = start(p), watch(P), exit(P, {shutdown, 7}), saw().
case_kill_beats_trapping() -> P = start_trapping(p), watch(P), exit(P, kill), saw().
case_kill_reaches_links_as_killed() ->
    process_flag(trap_exit, true), P = start(p), link(P), exit(P, kill), saw(), quiet().
case_kill_of_linked_kills_as_killed() ->
    P = start(p), Q = start(q), ask(Q, fun() -> link(P) end), watch(Q), exit(P, kill), saw().
case_own_exit_kill_is_trappable() -> process_flag(trap_exit, true), P = start(p), link(P), P ! {exit, kill}, saw(), quiet().
case_own_exit_kill_at_links() ->
    P = start(p), Q = start_trapping(q), ask(Q, fun() -> link(P) end), watch(P), P ! {exit, kill}, saw(),
    ask(Q, fun() -> ok end), alive(Q).
case_exit_dead_pid() -> P = dead(p), exit(P, kill), fact(done), quiet().
case_message_then_exit_in_order() ->
    P = start_trapping(p), P ! {do, fun() -> fact(first) end}, exit(P, enough), P ! {do, fun() -> fact(second) end},
    ask(P, fun() -> ok end).
case_exit_after_trapping_ends() ->
    P = start_trapping(p), ask(P, fun() -> process_flag(trap_exit, false) end), watch(P), exit(P, enough), saw().
case_second_reason_loses() -> P = start(p), watch(P), exit(P, first), exit(P, second), saw(), quiet().

%% ---------------------------------------------------------------- sends and names

case_send_dead_pid() -> P = dead(p), fact({sent, caught(fun() -> P ! hello, ok end)}).
case_send_unregistered_name() -> fact({sent, caught(fun() -> nobody ! hello, ok end)}).
case_cast_unregistered_name() -> fact({cast, caught(fun() -> gen_server:cast(nobody, hello) end)}).
case_fifo_per_pair() -> Me = self(), P = start(p), [P ! {do, fun() -> Me ! N end} || N <- [1, 2, 3]], saw(), saw(), saw().
case_register_taken() ->
    P = start(p), Q = start(q), register(server, P), {raised, _} = caught(fun() -> register(server, Q) end),
    fact(refused), fact({whereis, name(whereis(server))}).
case_register_dead() -> P = dead(p), {raised, _} = caught(fun() -> register(server, P) end), fact(refused).
case_unregister_unknown() -> fact(element(1, caught(fun() -> unregister(nobody) end))).
case_name_free_after_death() ->
    P = start(p), register(server, P), P ! return, gone(P), Q = start(q), register(server, Q),
    fact({whereis, name(whereis(server))}).
case_selective_receive_keeps_order() ->
    [self() ! M || M <- [1, 2, wanted, 3]], receive wanted -> fact(wanted) end, saw(), saw(), saw().

%% ---------------------------------------------------------------- gen_server: calls

server(Script) -> server(Script, []).
server(Script, Options) -> {ok, P} = gen_server:start(script_server, Script, Options), who(P, server).
call(P, M) -> call(P, M, 5000).
call(P, M, T) -> fact({called, caught(fun() -> gen_server:call(P, M, T) end)}).

case_call_dead_pid() -> call(dead(p), hello).
case_call_unregistered_name() -> call(nobody, hello).
case_call_self() -> call(self(), hello).
case_call_by_name() -> P = server(#{call => fun(M, _, S) -> {reply, {got, M}, S} end}), register(server, P), call(server, 1).
case_call_times_out_and_late_reply_vanishes() ->
    P = server(#{call => fun(_, From, _) -> {noreply, From} end, cast => fun(late, F) -> gen_server:reply(F, late), {noreply, none} end}),
    call(P, hello, 30), gen_server:cast(P, late), sys:get_state(P), quiet(), alive(P).
case_call_then_crash() -> call(server(#{call => fun(_, _, _) -> error(boom) end}), hello).
case_call_then_killed() ->
    Me = self(), P = server(#{call => fun(_, _, S) -> Me ! entered, {noreply, S} end}),
    Killer = spawn(fun() -> receive go -> exit(P, kill) end end), erlang:send_after(20, Killer, go),
    call(P, hello), saw().
case_call_queued_at_death() ->
    P = server(#{cast => fun(die, S) -> {stop, enough, S} end}), sys:suspend(P), gen_server:cast(P, die),
    Me = self(), Q = spawn(fun() -> Me ! {called, caught(fun() -> gen_server:call(P, hello) end)} end), who(Q, q),
    timer:sleep(30), sys:resume(P), saw().
case_stop_with_reply() ->
    P = server(#{call => fun(_, _, S) -> {stop, enough, answer, S} end, terminate => fun(R, _) -> fact({terminate, R}) end}),
    watch(P), call(P, hello), saw().
case_stop_without_reply() ->
    P = server(#{call => fun(_, _, S) -> {stop, enough, S} end, terminate => fun(R, _) -> fact({terminate, R}) end}),
    watch(P), call(P, hello), saw().
case_stop_normal_without_reply() -> P = server(#{call => fun(_, _, S) -> {stop, normal, S} end}), call(P, hello).
case_deferred_reply() ->
    P = server(#{call => fun(_, From, _) -> self() ! {later, From}, {noreply, s} end,
                 info => fun({later, From}, S) -> gen_server:reply(From, answer), {noreply, S} end}),
    call(P, hello).
case_reply_by_another_process() ->
    P = server(#{call => fun(_, From, S) -> spawn(fun() -> gen_server:reply(From, answer) end), {noreply, S} end}),
    call(P, hello).
case_second_reply_is_ignored() ->
    P = server(#{call => fun(_, From, _) -> gen_server:reply(From, first), {noreply, From} end,
                 cast => fun(again, From) -> gen_server:reply(From, second), {noreply, none} end}),
    call(P, hello), gen_server:cast(P, again), sys:get_state(P), quiet(), alive(P).
case_calls_casts_infos_keep_order() ->
    P = server(#{call => fun(M, _, S) -> fact({call, M}), {reply, ok, S} end,
                 cast => fun(M, S) -> fact({cast, M}), {noreply, S} end,
                 info => fun(M, S) -> fact({info, M}), {noreply, S} end}),
    gen_server:cast(P, 1), P ! 2, gen_server:cast(P, 3), call(P, 4), P ! 5, call(P, 6).
case_request_to_dead() ->
    P = dead(p), R = gen_server:send_request(P, hello),
    fact(case gen_server:receive_response(R, 1000) of {error, {Why, _}} -> {raised, Why}; Other -> Other end).
case_request_answered() ->
    P = server(#{call => fun(M, _, S) -> {reply, {got, M}, S} end}),
    R = gen_server:send_request(P, 1), {reply, V} = gen_server:receive_response(R, 1000), fact({value, V}).
case_call_during_init_waits() ->
    Me = self(),
    spawn(fun() -> gen_server:start({local, server}, script_server,
        #{init => fun() -> Me ! in_init, receive go -> fact(init_done) end, {ok, s} end,
          call => fun(M, _, S) -> {reply, {got, M}, S} end}, []) end),
    receive in_init -> ok end,
    spawn(fun() -> receive after 30 -> server ! go end end),
    call(server, 1).

%% ---------------------------------------------------------------- gen_server: life

start_fact(Script, Link) -> start_fact(Script, Link, []).
start_fact(Script, Link, Options) ->
    Start = case Link of link -> fun gen_server:start_link/4; nolink -> fun gen_server:start/4 end,
    R = case Start({local, server}, script_server, Script, Options) of
        {ok, _} -> started; {error, {already_started, _}} -> {error, already_started};
        {error, Why} -> {error, reason(Why)}; Other -> Other end,
    fact({start, R}), fact({whereis, case whereis(server) of undefined -> undefined; P -> name(P) end}).

case_init_stops() -> start_fact(#{init => fun() -> {stop, enough} end}, nolink), quiet().
case_init_ignores() -> start_fact(#{init => fun() -> ignore end}, nolink), quiet().
case_init_crashes() -> start_fact(#{init => fun() -> error(boom) end}, nolink), quiet().
case_init_times_out() ->
    fact({start, element(2, gen_server:start(script_server, #{init => fun() -> timer:sleep(60000) end}, [{timeout, 30}]))}), quiet().
case_init_stops_then_instant_restart() ->
    start_fact(#{init => fun() -> {stop, enough} end}, nolink), start_fact(#{init => fun() -> who(self(), server), {ok, s} end}, nolink).
case_name_taken() ->
    {ok, P} = gen_server:start({local, server}, script_server, #{}, []), who(P, server), start_fact(#{}, nolink).
case_name_known_inside_init() ->
    start_fact(#{init => fun() -> who(self(), server), fact({inside, name(whereis(server))}), {ok, s} end}, nolink).
case_linked_init_stops() ->
    process_flag(trap_exit, true), start_fact(#{init => fun() -> {stop, enough} end}, link), quiet().
case_linked_init_stops_not_trapping() ->
    P = start(p), watch(P), P ! {do, fun() -> start_fact(#{init => fun() -> {stop, enough} end}, link) end}, saw().
case_init_stop_skips_terminate() ->
    start_fact(#{init => fun() -> {stop, enough} end, terminate => fun(R, _) -> fact({terminate, R}) end}, nolink).
case_continue_before_queued_messages() ->
    server(#{init => fun() -> self() ! queued, {ok, s, {continue, go}} end,
             continue => fun(X, S) -> fact({continue, X}), {noreply, S} end,
             info => fun(M, S) -> fact({info, M}), {noreply, S} end, call => fun(_, _, S) -> {reply, ok, S} end}),
    timer:sleep(20).
case_continue_chain_before_queued_messages() ->
    P = server(#{cast => fun(go, S) -> self() ! queued, {noreply, S, {continue, 1}} end,
             continue => fun(1, S) -> fact({continue, 1}), {noreply, S, {continue, 2}}; (2, S) -> fact({continue, 2}), {noreply, S} end,
             info => fun(M, S) -> fact({info, M}), {noreply, S} end, call => fun(_, _, S) -> {reply, ok, S} end}),
    gen_server:cast(P, go), call(P, sync).
case_reply_then_continue() ->
    P = server(#{call => fun(_, _, S) -> {reply, answer, S, {continue, go}} end,
                 continue => fun(X, S) -> fact({continue, X}), {stop, enough, S} end}),
    watch(P), gen_server:call(P, hello), saw().
case_idle_timeout_fires_once() ->
    server(#{init => fun() -> {ok, s, 20} end, info => fun(M, S) -> fact({info, M}), {noreply, S} end}), timer:sleep(100).
case_any_message_cancels_idle_timeout() ->
    P = server(#{init => fun() -> {ok, s, 40} end, cast => fun(M, S) -> fact({cast, M}), {noreply, S} end,
                 info => fun(M, S) -> fact({info, M}), {noreply, S} end}),
    gen_server:cast(P, hello), timer:sleep(120).
case_call_cancels_idle_timeout() ->
    P = server(#{init => fun() -> {ok, s, 40} end, call => fun(M, _, S) -> {reply, M, S} end,
                 info => fun(M, S) -> fact({info, M}), {noreply, S} end}),
    call(P, hello), timer:sleep(120).
case_idle_timeout_rearmed_by_return() ->
    P = server(#{init => fun() -> {ok, s} end, cast => fun(M, S) -> fact({cast, M}), {noreply, S, 20} end,
                 info => fun(M, S) -> fact({info, M}), {noreply, S} end}),
    gen_server:cast(P, hello), timer:sleep(100).
case_down_and_exit_are_infos() ->
    P = start(p), Q = start(q),
    S = server(#{init => fun() -> process_flag(trap_exit, true), link(P), who(monitor(process, Q), ref), {ok, s} end,
             info => fun(M, S) -> fact({info, message(M)}), {noreply, S} end, call => fun(_, _, S) -> {reply, ok, S} end}),
    P ! {exit, enough}, gone(P), call(S, sync), Q ! {exit, too}, gone(Q), call(S, sync).
parent_with(Script) ->
    Parent = start(parent),
    P = ask(Parent, fun() -> {ok, P} = gen_server:start_link(script_server, Script, []), P end),
    who(P, server), Parent.
case_parent_exit_ends_trapping_server() ->
    Parent = parent_with(#{init => fun() -> process_flag(trap_exit, true), {ok, s} end,
        info => fun(M, S) -> fact({info, message(M)}), {noreply, S} end, terminate => fun(R, _) -> fact({terminate, R}) end}),
    [{P, _}] = ets:match_object(names, {'_', server}), watch(P), Parent ! {exit, enough}, saw().
case_exit_from_parent_pid_ends_trapping_server() ->
    Parent = parent_with(#{init => fun() -> process_flag(trap_exit, true), {ok, s} end,
        info => fun(M, S) -> fact({info, message(M)}), {noreply, S} end, terminate => fun(R, _) -> fact({terminate, R}) end}),
    [{P, _}] = ets:match_object(names, {'_', server}), watch(P),
    ask(Parent, fun() -> unlink(P), exit(P, shutdown) end), saw(), alive(Parent).
case_exit_from_stranger_is_info() ->
    P = server(#{init => fun() -> process_flag(trap_exit, true), {ok, s} end,
        info => fun(M, S) -> fact({info, message(M)}), {noreply, S} end, call => fun(_, _, S) -> {reply, ok, S} end}),
    Q = start(q), ask(Q, fun() -> exit(P, shutdown) end), call(P, sync), alive(P).
case_exit_from_unlinked_starter_is_info() ->
    P = server(#{init => fun() -> process_flag(trap_exit, true), {ok, s} end,
        info => fun(M, S) -> fact({info, message(M)}), {noreply, S} end, call => fun(_, _, S) -> {reply, ok, S} end}),
    exit(P, shutdown), call(P, sync), alive(P).
case_exit_signal_skips_terminate() ->
    P = server(#{terminate => fun(R, _) -> fact({terminate, R}) end}), watch(P), exit(P, shutdown), saw().
case_kill_skips_terminate() ->
    P = server(#{init => fun() -> process_flag(trap_exit, true), {ok, s} end, terminate => fun(R, _) -> fact({terminate, R}) end}),
    watch(P), exit(P, kill), saw().
case_crash_runs_terminate() ->
    P = server(#{cast => fun(_, _) -> error(boom) end, terminate => fun(R, _) -> fact({terminate, reason(R)}) end}),
    watch(P), gen_server:cast(P, go), saw().
case_crash_in_terminate() ->
    P = server(#{cast => fun(_, S) -> {stop, enough, S} end, terminate => fun(_, _) -> fact(terminate), error(boom) end}),
    watch(P), gen_server:cast(P, go), saw().
case_stop_in_cast() ->
    P = server(#{cast => fun(_, S) -> {stop, {shutdown, 7}, S} end, terminate => fun(R, _) -> fact({terminate, R}) end}),
    watch(P), gen_server:cast(P, go), saw().
case_messages_after_stop_are_dropped() ->
    P = server(#{cast => fun(stop, S) -> {stop, normal, S}; (M, S) -> fact({cast, M}), {noreply, S} end}),
    watch(P), sys:suspend(P), [gen_server:cast(P, M) || M <- [1, stop, 2]], sys:resume(P), saw().
case_bad_return() -> P = server(#{cast => fun(_, _) -> nonsense end}), watch(P), gen_server:cast(P, go), saw().
case_unknown_call_crashes() ->
    P = server(#{call => fun(known, _, S) -> {reply, ok, S} end}), watch(P),
    {raised, _} = caught(fun() -> gen_server:call(P, unknown) end), fact(caller_told), receive {'DOWN', _, _, _, _} -> fact(down) end.
case_unexpected_info_is_survived() -> {ok, P} = gen_server:start(plain_server, [], []), who(P, server), P ! what, sys:get_state(P), alive(P).
case_linked_server_stops_normally() ->
    Parent = parent_with(#{cast => fun(_, S) -> {stop, normal, S} end}),
    [{P, _}] = ets:match_object(names, {'_', server}), watch(P), gen_server:cast(P, go), saw(), alive(Parent).
case_linked_server_crash_takes_parent() ->
    Parent = parent_with(#{cast => fun(_, _) -> error(boom) end}),
    [{P, _}] = ets:match_object(names, {'_', server}), watch(Parent), gen_server:cast(P, go), saw().

%% ---------------------------------------------------------------- suspend, timers

case_suspended_server_keeps_messages() ->
    P = server(#{cast => fun(M, S) -> fact({cast, M}), {noreply, S} end, call => fun(_, _, S) -> {reply, ok, S} end}),
    sys:suspend(P), gen_server:cast(P, 1), timer:sleep(20), fact(resuming), sys:resume(P), call(P, sync).
case_suspended_server_can_be_killed() -> P = server(#{}), watch(P), sys:suspend(P), exit(P, kill), saw().
case_timers_in_order_of_time() ->
    erlang:send_after(40, self(), second), erlang:send_after(20, self(), first), saw(), saw().
case_cancelled_timer_is_quiet() -> R = erlang:send_after(20, self(), tick), erlang:cancel_timer(R), quiet().
case_timer_to_dead_process() -> P = dead(p), erlang:send_after(5, P, tick), fact(done), quiet().
