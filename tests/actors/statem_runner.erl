%% Plays programs on a real gen_statem; tests/actors/test_state_machine_otp.py plays the same ones on StateMachine.
%% A program is {Enter, First, FirstActions, EnterActions, Events}; an event's content says what the machine returns for it.
-module(statem_runner).
-behaviour(gen_statem).
-export([main/1, init/1, callback_mode/0, handle_event/4]).

-define(NEVER, 600000).
-define(LIMIT, 400).

main([Path]) ->
    {ok, Programs} = file:consult(Path),
    lists:foreach(fun(Program) -> io:format("~0p.~n", [play(Program)]) end, Programs),
    halt(0).

play({Enter, First, FirstActions, EnterActions, Events}) ->
    process_flag(trap_exit, true),
    put_mode(Enter),
    {ok, Pid} = gen_statem:start_link(?MODULE, {First, FirstActions, EnterActions}, []),
    lists:foreach(fun({cast, Content}) -> gen_statem:cast(Pid, Content);
                     ({info, Content}) -> Pid ! Content;
                     ({wait, Milliseconds}) -> timer:sleep(Milliseconds)
                  end, Events),
    Log = try gen_statem:call(Pid, log, 5000) catch exit:_ -> dead end,
    receive {'EXIT', Pid, _} -> ok after 5000 -> ok end,
    Log.

put_mode(Enter) -> persistent_term:put(statem_enter, Enter).

callback_mode() ->
    case persistent_term:get(statem_enter) of
        true -> [handle_event_function, state_enter];
        false -> handle_event_function
    end.

init({First, FirstActions, EnterActions}) ->
    {ok, First, #{enter => maps:from_list(EnterActions), seen => #{}, log => []}, [action(A) || A <- FirstActions]}.

handle_event({call, From}, log, _, #{log := Log} = Data) ->
    {stop_and_reply, normal, [{reply, From, lists:reverse(Log)}], Data};
handle_event(enter, Old, State, #{log := Log, enter := Enter} = Data) ->
    Actions = maps:get(State, Enter, []),
    {keep_state, Data#{log := [{State, enter, Old} | Log]}, [action(A) || A <- Actions]};
handle_event(Type, {Tag, Results}, State, #{log := Log, seen := Seen} = Data) ->
    Times = maps:get(Tag, Seen, 0),
    Data1 = Data#{log := [{State, Type, Tag} | Log], seen := Seen#{Tag => Times + 1}},
    case length(Log) >= ?LIMIT of
        true -> {keep_state, Data1};
        false -> result(lists:nth(min(Times + 1, length(Results)), Results), Data1)
    end.

result({keep, Actions}, Data) -> {keep_state, Data, [action(A) || A <- Actions]};
result({repeat, Actions}, Data) -> {repeat_state, Data, [action(A) || A <- Actions]};
result({next, State, Actions}, Data) -> {next_state, State, Data, [action(A) || A <- Actions]}.

action({timeout_of, Type, never, Content}) -> {Type, ?NEVER, Content};
action({timeout_of, Type, update, Content}) -> {Type, update, Content};
action({timeout_of, Type, Time, Content}) -> {Type, Time, Content};
action(Other) -> Other.
