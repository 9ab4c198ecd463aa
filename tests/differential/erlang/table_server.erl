%% Reads one term per example from standard input, {Type, Keypos, Operations}, runs it on a fresh ets table and prints
%% the list of results. A call that fails with badarg answers 'badarg'.
-module(table_server).
-export([main/0]).

main() ->
    io:setopts([{encoding, unicode}]),
    loop().

loop() ->
    case io:read('') of
        {ok, {Type, Keypos, Operations}} ->
            Table = ets:new(table, [Type, {keypos, Keypos}]),
            io:format("~w~n", [[run(Table, Operation) || Operation <- Operations]]),
            ets:delete(Table),
            loop();
        eof ->
            halt(0)
    end.

run(Table, Operation) ->
    try operate(Table, Operation)
    catch error:badarg -> badarg
    end.

operate(T, {pages, Spec, Limit}) -> pages(ets:select(T, Spec, Limit), []);
operate(T, {walk}) -> walk(T, ets:first(T), next);
operate(T, {walk_back}) -> walk(T, ets:last(T), prev);
operate(T, {size}) -> ets:info(T, size);
operate(T, {Name}) -> ets:Name(T);
operate(T, {Name, A}) -> ets:Name(T, A);
operate(T, {Name, A, B}) -> ets:Name(T, A, B);
operate(T, {Name, A, B, C}) -> ets:Name(T, A, B, C).

pages('$end_of_table', Pages) -> lists:append(lists:reverse(Pages));
pages({Page, More}, Pages) -> pages(ets:select(More), [Page | Pages]).

walk(_, '$end_of_table', _) -> [];
walk(T, Key, Step) -> [Key | walk(T, ets:Step(T, Key), Step)].
