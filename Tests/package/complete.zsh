# What zsh offers after "vm-bridge ", with the completions of the directory $1: typed into a shell on a terminal of its own.
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
# Typed, not a line: no newline.
zpty -w -n shell $'vm-bridge \t\t'
# The parser's own command comes last.
said '*help *--*' | tr '\r' '\n' | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g'
zpty -d shell
