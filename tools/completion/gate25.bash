# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# bash completion for gate25(1). The program itself knows what may come next.

_gate25()
{
	local cur words cword
	# a ':' is part of a subject and parts no words
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n : cur words cword
	else
		cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
	fi

	mapfile -t COMPREPLY < <("${words[0]}" __complete "${words[@]:1:cword}" 2>/dev/null)
	if [[ ${COMPREPLY[0]} == :file ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames
		return
	fi
	[[ ${COMPREPLY[0]} == *: ]] && compopt -o nospace
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$cur"
	fi
}

complete -F _gate25 gate25
