%% The OTP side of benchmarks/actors.py. One command per line on stdin, one answer per line on stdout:
%% "ok WallMicroseconds CpuMicroseconds ..." or "error Text".
-module(actors_peer).
-behaviour(gen_server).
-export([main/0, init/1, handle_call/3, handle_cast/2, handle_info/2, idle/0, lived/0, counter/4]).

main() ->
    spawn(fun() -> read(#{}) end).

read(State) ->
    case io:get_line("") of
        eof -> halt(0);
        {error, _} -> halt(0);
        Line ->
            [Command | Args] = string:lexemes(Line, " \n"),
            {Answer, State1} = run(list_to_atom(Command), [list_to_integer(A) || A <- Args], State),
            io:put_chars(["ok", [[$\s, integer_to_list(V)] || V <- Answer], $\n]),
            read(State1)
    end.

%% setup_fanout N Kind: N plain processes (Kind 0) or gen_servers (Kind 1), each tenth monitored by this one.
run(setup_fanout, [N, Kind], State) ->
    Done = atomics:new(1, [{signed, false}]),
    Target = N + N div 10,
    Self = self(),
    Pids = [start_counter(Kind, Done, Target, Self) || _ <- lists:seq(1, N)],
    [monitor(process, P) || {P, I} <- lists:zip(Pids, lists:seq(1, N)), I rem 10 =:= 0],
    Waiting = [P || {P, I} <- lists:zip(Pids, lists:seq(1, N)), I rem 10 =:= 5],
    {[N], State#{{fanout, Kind} => {Pids, Waiting, Done, Target}}};
%% fanout Kind: one message to each tenth process, then one to every process, until all of them are handled.
run(fanout, [Kind], State) ->
    #{{fanout, Kind} := {Pids, Waiting, Done, Target}} = State,
    atomics:put(Done, 1, 0),
    {Wall, Cpu} = timed(fun() ->
        tell(Waiting, {tick, 0}),
        tell(Pids, {tick, 1}),
        receive all_handled -> ok end
    end),
    Target = atomics:get(Done, 1),
    {[Wall, Cpu, Target], State};
run(end_fanout, [Kind], State) ->
    {{Pids, _, _, _}, State1} = maps:take({fanout, Kind}, State),
    stop(Pids),
    {[0], State1};
%% spawn N: plain processes, no handshake. The answer times the spawning alone.
run(spawn, [N], State) ->
    {Wall, Cpu, Pids} = timed_value(fun() -> spawn_plain(N, []) end),
    stop(Pids),
    {[Wall, Cpu], State};
%% gen_start N: gen_server:start/3, which waits for init/1.
run(gen_start, [N], State) ->
    {Wall, Cpu, Pids} = timed_value(fun() -> spawn_server(N, []) end),
    stop(Pids),
    {[Wall, Cpu], State};
%% call N: round trips of gen_server:call/2.
run(call, [N], State) ->
    {ok, Pid} = gen_server:start(?MODULE, [], []),
    {Wall, Cpu} = timed(fun() -> call(Pid, N) end),
    stop([Pid]),
    {[Wall, Cpu], State};
%% hold N: N plain processes that handled one message each stay until "release".
run(hold, [N], State) ->
    Pids = [spawn(?MODULE, idle, []) || _ <- lists:seq(1, N)],
    [P ! {hello, self()} || P <- Pids],
    [receive {P, hello} -> ok end || P <- Pids],
    {[N], State#{held => Pids}};
run(release, [], #{held := Pids} = State) ->
    stop(Pids),
    {[0], maps:remove(held, State)};
%% kill N: N monitored processes are killed; until this process has counted every DOWN.
run(kill, [N], State) ->
    Pids = spawn_plain(N, []),
    Refs = [monitor(process, P) || P <- Pids],
    {Wall, Cpu} = timed(fun() ->
        [exit(P, kill) || P <- Pids],
        N = downs(N, 0),
        ok
    end),
    N = length(Refs),
    {[Wall, Cpu], State}.

start_counter(0, Done, Target, Driver) ->
    spawn(?MODULE, counter, [Done, Target, Driver, 0]);
start_counter(1, Done, Target, Driver) ->
    {ok, Pid} = gen_server:start(?MODULE, {Done, Target, Driver, 0}, []),
    Pid.

handled(Done, Target, Driver) ->
    case atomics:add_get(Done, 1, 1) of
        Target -> Driver ! all_handled;
        _ -> ok
    end.

counter(Done, Target, Driver, Seen) ->
    receive
        {tick, _} ->
            handled(Done, Target, Driver),
            ?MODULE:counter(Done, Target, Driver, Seen + 1);
        stop -> ok
    end.

idle() ->
    receive
        {hello, From} -> From ! {self(), hello}, ?MODULE:lived();
        stop -> ok
    end.

lived() ->
    receive stop -> ok end.

tell([Pid | Pids], Message) -> Pid ! Message, tell(Pids, Message);
tell([], _) -> ok.

spawn_plain(0, Pids) -> Pids;
spawn_plain(N, Pids) -> spawn_plain(N - 1, [spawn(?MODULE, idle, []) | Pids]).

spawn_server(0, Pids) -> Pids;
spawn_server(N, Pids) ->
    {ok, Pid} = gen_server:start(?MODULE, [], []),
    spawn_server(N - 1, [Pid | Pids]).

call(_, 0) -> ok;
call(Pid, N) ->
    N = gen_server:call(Pid, {echo, N}),
    call(Pid, N - 1).

downs(0, Count) -> Count;
downs(N, Count) -> receive {'DOWN', _, process, _, killed} -> downs(N - 1, Count + 1) end.

stop(Pids) ->
    Refs = [monitor(process, P) || P <- Pids],
    [exit(P, kill) || P <- Pids],
    [receive {'DOWN', R, process, _, _} -> ok end || R <- Refs],
    drain(),
    erlang:garbage_collect().

%% The DOWN messages of monitors made by setup_fanout.
drain() ->
    receive {'DOWN', _, process, _, _} -> drain() after 0 -> ok end.

timed(Fun) ->
    {Wall, Cpu, _} = timed_value(Fun),
    {Wall, Cpu}.

timed_value(Fun) ->
    erlang:garbage_collect(),
    {Cpu0, _} = statistics(runtime),
    T0 = erlang:monotonic_time(microsecond),
    Value = Fun(),
    T1 = erlang:monotonic_time(microsecond),
    {Cpu1, _} = statistics(runtime),
    {T1 - T0, (Cpu1 - Cpu0) * 1000, Value}.

%% gen_server
init(State) -> {ok, State}.
handle_call({echo, X}, _From, State) -> {reply, X, State}.
handle_cast(_, State) -> {noreply, State}.
handle_info({tick, _}, {Done, Target, Driver, Seen}) ->
    handled(Done, Target, Driver),
    {noreply, {Done, Target, Driver, Seen + 1}}.
