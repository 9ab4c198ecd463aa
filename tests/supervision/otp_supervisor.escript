#!/usr/bin/env escript
%% The oracle: runs scripted scenarios on OTP's own supervisor and prints what happened, in order.
%%
%% One scenario per line on stdin, as an Erlang term:
%%   {Strategy, Intensity, AutoShutdown, [{Id, Restart, Shutdown, Significant}], [Step]}.
%%   Step = {plan, Id, [ok | fail | ignore]}     how the next starts of Id go (then: ok)
%%        | {exit, Id, Reason}                   the child ends with Reason
%%        | {terminate, Id} | {restart, Id} | {delete, Id}
%%        | {start, {Id, Restart, Shutdown, Significant}} | which | count
%% The first Step list entries that are plans apply before the supervisor boots. For each scenario: one line per event, then "--".
-module(otp_supervisor).
-mode(compile).
-export([main/1, init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, boot_child/2]).

main(_) ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    loop().

loop() ->
    case io:get_line("") of
        eof -> ok;
        Line ->
            {ok, Tokens, _} = erl_scan:string(Line),
            {ok, Scenario} = erl_parse:parse_term(Tokens),
            ets:new(trace, [named_table, public, ordered_set]),
            ets:new(plan, [named_table, public]),
            play(Scenario),
            [io:format("~s~n", [Text]) || {_, Text} <- ets:tab2list(trace)],
            io:format("--~n"),
            ets:delete(trace),
            ets:delete(plan),
            flush(),
            loop()
    end.

flush() -> receive _ -> flush() after 0 -> ok end.

say(Format, Args) ->
    ets:insert(trace, {erlang:unique_integer([monotonic]), io_lib:format(Format, Args)}).

play({Strategy, Intensity, Auto, Children, Steps}) ->
    {Plans, Rest} = lists:splitwith(fun(S) -> is_tuple(S) andalso element(1, S) =:= plan end, Steps),
    [step(none, P) || P <- Plans],
    Flags = #{strategy => Strategy, intensity => Intensity, period => 3600, auto_shutdown => Auto},
    case supervisor:start_link(?MODULE, {sup, Flags, [spec(C) || C <- Children]}) of
        {ok, Sup} ->
            Ref = monitor(process, Sup),
            run(Sup, Ref, Rest);
        {error, Why} ->
            say("boot failed ~s", [r(Why)])
    end.

run(Sup, Ref, []) ->
    say("end", []),
    exit(Sup, shutdown),
    receive {'DOWN', Ref, process, Sup, Why} -> say("down ~s", [r(Why)]) end;
run(Sup, Ref, [Step | Rest]) ->
    step(Sup, Step),
    receive
        {'DOWN', Ref, process, Sup, Why} -> say("down ~s", [r(Why)])
    after 0 ->
        case is_process_alive(Sup) of
            true -> run(Sup, Ref, Rest);
            false -> receive {'DOWN', Ref, process, Sup, Why} -> say("down ~s", [r(Why)]) end
        end
    end.

step(_, {plan, Id, Outcomes}) ->
    ets:insert(plan, {Id, Outcomes});
step(Sup, {exit, Id, Reason}) ->
    case lists:keyfind(Id, 1, supervisor:which_children(Sup)) of
        {Id, Pid, _, _} when is_pid(Pid) ->
            Ref = monitor(process, Pid),
            gen_server:cast(Pid, {exit, Reason}),
            receive {'DOWN', Ref, process, Pid, _} -> ok end,
            settle(Sup, Pid);
        _ -> say("nobody", [])
    end;
step(Sup, {terminate, Id}) -> say("terminate ~s ~s", [Id, answer(supervisor:terminate_child(Sup, Id))]);
step(Sup, {restart, Id}) -> say("restart ~s ~s", [Id, answer(supervisor:restart_child(Sup, Id))]);
step(Sup, {delete, Id}) -> say("delete ~s ~s", [Id, answer(supervisor:delete_child(Sup, Id))]);
step(Sup, {start, Child}) ->
    say("start_child ~s ~s", [element(1, Child), answer(supervisor:start_child(Sup, spec(Child)))]);
step(Sup, which) ->
    Lines = [io_lib:format(" ~s:~s", [Id, status(Pid)]) || {Id, Pid, _, _} <- lists:reverse(supervisor:which_children(Sup))],
    say("which~s", [Lines]);
step(Sup, count) ->
    Counts = supervisor:count_children(Sup),
    say("count ~b ~b ~b ~b", [proplists:get_value(K, Counts) || K <- [specs, active, supervisors, workers]]).

%% Until the supervisor has seen the exit of Old and every restart has succeeded, or it is gone.
settle(Sup, Old) ->
    try supervisor:which_children(Sup) of
        Children ->
            case [x || {_, Pid, _, _} <- Children, Pid =:= Old orelse Pid =:= restarting] of
                [] -> ok;
                _ -> erlang:yield(), settle(Sup, Old)
            end
    catch exit:_ -> wait_gone(Sup)
    end.

wait_gone(Sup) ->
    case is_process_alive(Sup) of true -> erlang:yield(), wait_gone(Sup); false -> ok end.

answer(ok) -> "ok";
answer({ok, Pid}) when is_pid(Pid) -> "ok pid";
answer({ok, undefined}) -> "ok undefined";
answer({error, {already_started, _}}) -> "already_started";
answer({error, {bad_combination, _}}) -> "refused";
answer({error, {Why, Child}}) when is_tuple(Child) -> ["failed ", r(Why)];
answer({error, Why}) when Why =:= not_found; Why =:= running; Why =:= restarting; Why =:= already_present -> atom_to_list(Why);
answer({error, Why}) -> ["failed ", r(Why)].

status(undefined) -> "stopped";
status(restarting) -> "restarting";
status(Pid) when is_pid(Pid) -> "running".

r({shutdown, {failed_to_start_child, Id, Why}}) -> io_lib:format("failed_to_start_child ~s ~s", [Id, r(Why)]);
r({shutdown, X}) -> ["shutdown:", r(X)];
r({start_spec, {bad_combination, _}}) -> "refused";
r(Atom) when is_atom(Atom) -> atom_to_list(Atom).

spec({Id, Restart, Shutdown, Significant}) ->
    #{id => Id, start => {?MODULE, boot_child, [Id, Shutdown]}, restart => Restart, shutdown => Shutdown,
      significant => Significant}.

boot_child(Id, _Shutdown) -> gen_server:start_link(?MODULE, {child, Id}, []).

init({sup, Flags, Specs}) -> {ok, {Flags, Specs}};
init({child, Id}) ->
    process_flag(trap_exit, true),
    case ets:lookup(plan, Id) of
        [{Id, [fail | Rest]}] -> ets:insert(plan, {Id, Rest}), say("fail ~s", [Id]), {stop, broken};
        [{Id, [ignore | Rest]}] -> ets:insert(plan, {Id, Rest}), say("ignore ~s", [Id]), ignore;
        [{Id, [ok | Rest]}] -> ets:insert(plan, {Id, Rest}), say("start ~s", [Id]), {ok, Id};
        _ -> say("start ~s", [Id]), {ok, Id}
    end.

handle_call(_, _, Id) -> {reply, ok, Id}.
handle_cast({exit, Reason}, Id) -> {stop, Reason, Id}.
handle_info(_, Id) -> {noreply, Id}.
terminate(Reason, Id) -> say("stop ~s ~s", [Id, r(Reason)]).
