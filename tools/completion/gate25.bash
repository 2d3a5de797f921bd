# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# bash completion for gate25(1). The program itself knows what may come next.

_gate25()
{
	local cur words cword
	# a ':' is part of a subject and parts no words, though bash thinks so
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n : cur words cword
	else
		read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
		[[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
		cword=$((${#words[@]} - 1)) cur=${words[-1]}
	fi

	mapfile -t COMPREPLY < <("${words[0]}" __complete "${words[@]:1:cword}" 2>/dev/null)
	if [[ ${COMPREPLY[0]} == :file ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames
		return
	fi
	[[ ${COMPREPLY[0]} == *: ]] && compopt -o nospace
	# it puts the answer where it saw the last word begin, which is behind the last ':'
	if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
		COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
	fi
}

complete -F _gate25 gate25
