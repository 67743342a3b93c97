# What zsh offers at the end of the line $2, with the completions of the directory $1: typed into a shell on a terminal of its
# own, since completion is the line editor's. $3 is one of the last offers.
zmodload zsh/zpty
zpty shell "PS1= TERM=dumb zsh -f -i"
said() { # reads until PATTERN comes, at most 20 s
    local text= part
    local -i tries=0
    while (( tries++ < 200 )); do
        while zpty -rt shell part; do text+=$part; done
        [[ $text == *${~1}* ]] && break
        sleep 0.1
    done
    print -r -- "$text"
}
zpty -w shell "fpath=($1 \$fpath); autoload -Uz compinit; compinit -D -u; zstyle ':completion:*' list-colors ''; LISTMAX=1000; setopt no_always_last_prompt; COLUMNS=200; print re''ady"
said ready >/dev/null
# Typed, not a line: no newline. The second tab lists.
zpty -w -n shell "$2"$'\t\t'
said "*$3[^a-z]*" | tr '\r' '\n' | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g'
zpty -d shell
