%% A gen_server whose callbacks are the funs of the map it is started with.
-module(script_server).
-behaviour(gen_server).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, handle_continue/2, terminate/2]).

init(Script) ->
    put(script, Script),
    case Script of
        #{init := F} -> F();
        #{} -> {ok, none}
    end.
handle_call(M, From, S) -> (fetch(call))(M, From, S).
handle_cast(M, S) -> (fetch(cast))(M, S).
handle_info(M, S) -> (fetch(info))(M, S).
handle_continue(X, S) -> (fetch(continue))(X, S).
terminate(R, S) ->
    case get(script) of
        #{terminate := F} -> F(R, S);
        #{} -> ok
    end.

fetch(Key) -> maps:get(Key, get(script)).
